//! The attributes of the `goroutines` crate; use them through it.

mod select;

use proc_macro::TokenStream;
use proc_macro2::TokenStream as TokenStream2;
use quote::quote;
use syn::{ItemFn, parse_macro_input};

/// Makes `main` the main goroutine.
///
/// `main` runs as goroutine 1 on a runtime started with its default properties; when it returns the
/// process ends, and other goroutines are not waited for. It may return what any `main` may.
///
/// ```ignore
/// #[goroutines::main]
/// fn main() {
///     goroutines::go(|| println!("hello")).join().unwrap();
/// }
/// ```
#[proc_macro_attribute]
pub fn main(args: TokenStream, item: TokenStream) -> TokenStream {
    expand(args, parse_macro_input!(item as ItemFn), &quote!(), &quote!(runtime::run_last))
}

/// Makes a function a test that runs in a goroutine.
///
/// ```ignore
/// #[goroutines::test]
/// fn yields() {
///     goroutines::runtime::gosched();
/// }
/// ```
#[proc_macro_attribute]
pub fn test(args: TokenStream, item: TokenStream) -> TokenStream {
    let test = quote!(#[::core::prelude::v1::test]);
    expand(args, parse_macro_input!(item as ItemFn), &test, &quote!(run))
}

fn expand(
    args: TokenStream,
    item: ItemFn,
    extra: &TokenStream2,
    run: &TokenStream2,
) -> TokenStream {
    let ItemFn { attrs, vis, sig, block } = item;
    let problem = if !args.is_empty() {
        Some("this attribute takes no arguments: use goroutines::runtime::Builder")
    } else if sig.asyncness.is_some() {
        Some("a goroutine's function is not async: call blocking functions instead")
    } else if !sig.inputs.is_empty() {
        Some("this function takes no arguments")
    } else {
        None
    };
    if let Some(problem) = problem {
        return syn::Error::new_spanned(&sig, problem).to_compile_error().into();
    }
    quote! {
        #(#attrs)* #extra #vis #sig {
            ::goroutines::#run(move || #block)
        }
    }
    .into()
}

/// `goroutines::select!` and `select_biased!`: the path of the crate, whether it is biased, and the
/// cases.
#[doc(hidden)]
#[proc_macro]
pub fn __select(input: TokenStream) -> TokenStream {
    parse_macro_input!(input as select::Select).expand().into()
}

//! The attributes of the `goroutines` crate; use them through it.

mod select;

use proc_macro::TokenStream;
use proc_macro2::Span;
use quote::quote;
use std::time::Duration;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::{Ident, ItemFn, LitStr, Path, Token, parse_macro_input};

/// Makes `main` the main goroutine.
///
/// `main` runs as goroutine 1 on a runtime started with its default properties; when it returns the
/// process ends, and other goroutines are not waited for. It may return what any `main` may, with
/// the same exit status and the same text for an error.
///
/// `crate = "name"` says by which name the crate is known, if that is not `goroutines`. For other
/// properties there is `goroutines::runtime::Builder`.
///
/// ```ignore
/// #[goroutines::main]
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     goroutines::go(|| println!("hello")).join().unwrap();
///     Ok(())
/// }
/// ```
#[proc_macro_attribute]
pub fn main(args: TokenStream, item: TokenStream) -> TokenStream {
    expand(parse_macro_input!(args as Args), parse_macro_input!(item as ItemFn), false)
}

/// Makes a function a test that runs in a goroutine.
///
/// It may return what any test may, and other attributes of tests (`should_panic`, `ignore`) stay
/// what they are. Where all goroutines are asleep, and no thread could wake one, the tests that run
/// fail, and the stacks of all goroutines are printed. A test that waits beside others, or beside
/// threads, that go on can't be told from one that will be woken: it fails after a minute.
/// `timeout = "5s"` says how long (`ms`, `s`, `min`), `timeout = "none"` that there is no limit.
/// The goroutines of a test that has failed so go on.
///
/// Goroutines that a test has started, or these have, and that have not ended when it has, are
/// named on stderr. `leaks = "fail"` makes the test fail then, `leaks = "ignore"` says nothing.
///
/// `crate = "name"` is as for `main`.
///
/// ```ignore
/// #[goroutines::test(timeout = "10s")]
/// fn yields() {
///     goroutines::runtime::gosched();
/// }
/// ```
#[proc_macro_attribute]
pub fn test(args: TokenStream, item: TokenStream) -> TokenStream {
    expand(parse_macro_input!(args as Args), parse_macro_input!(item as ItemFn), true)
}

/// The arguments of an attribute.
#[derive(Default)]
struct Args {
    krate: Option<Path>,
    timeout: Option<(Span, Option<Duration>)>,
    /// One of `runtime::Leaks`.
    leaks: Option<Ident>,
}

impl Parse for Args {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let mut args = Self::default();
        while !input.is_empty() {
            let name = input.call(Ident::parse_any)?;
            input.parse::<Token![=]>()?;
            let value: LitStr = input.parse()?;
            match name.to_string().as_str() {
                "crate" => args.krate = Some(value.parse_with(Path::parse_mod_style)?),
                "timeout" => args.timeout = Some((name.span(), duration(&value)?)),
                "leaks" => args.leaks = Some(leaks(&value)?),
                _ => {
                    return Err(syn::Error::new(
                        name.span(),
                        "expected `crate = \"…\"` or, for a test, `timeout = \"…\"`, \
                         `leaks = \"…\"`: for other properties use goroutines::runtime::Builder",
                    ));
                }
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(args)
    }
}

/// The time that `text` says; none for `none`.
fn duration(text: &LitStr) -> syn::Result<Option<Duration>> {
    let value = text.value();
    let value = value.trim();
    if value == "none" {
        return Ok(None);
    }
    let digits = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    let unit = match value[digits..].trim() {
        "ms" => Some(1),
        "s" => Some(1_000),
        "min" => Some(60_000),
        _ => None,
    };
    let number: Option<u64> = value[..digits].parse().ok().filter(|n| *n > 0);
    match number.zip(unit).and_then(|(number, unit)| number.checked_mul(unit)) {
        Some(ms) => Ok(Some(Duration::from_millis(ms))),
        None => Err(syn::Error::new(
            text.span(),
            "expected a number and a unit, as \"500ms\", \"5s\", \"2min\", or \"none\"",
        )),
    }
}

/// What is to be done about goroutines that outlive a test.
fn leaks(text: &LitStr) -> syn::Result<Ident> {
    let what = match text.value().as_str() {
        "ignore" => "Ignore",
        "tell" => "Tell",
        "fail" => "Fail",
        _ => return Err(syn::Error::new(text.span(), "expected \"ignore\", \"tell\" or \"fail\"")),
    };
    Ok(Ident::new(what, text.span()))
}

/// How long a test may take that sets no limit.
const LIMIT: Duration = Duration::from_secs(60);

fn expand(args: Args, item: ItemFn, is_test: bool) -> TokenStream {
    let ItemFn { attrs, vis, sig, block, .. } = &item;
    let problem = if sig.asyncness.is_some() {
        Some("a goroutine's function is not async: call blocking functions instead")
    } else if !sig.inputs.is_empty() {
        Some("this function takes no arguments")
    } else {
        None
    };
    if let Some(problem) = problem {
        return syn::Error::new_spanned(sig, problem).to_compile_error().into();
    }
    if let Some((span, _)) = args.timeout.filter(|_| !is_test) {
        return syn::Error::new(span, "`timeout` is for tests").to_compile_error().into();
    }
    if let Some(what) = args.leaks.as_ref().filter(|_| !is_test) {
        return syn::Error::new(what.span(), "`leaks` is for tests").to_compile_error().into();
    }
    let krate = args.krate.map_or_else(|| quote!(::goroutines), |path| quote!(#path));
    let name = &sig.ident;
    // The function itself stays one, so that what it returns is checked as that of any other.
    let inner = quote!(#sig #block);
    let report = quote!(::std::process::Termination::report(#name()));
    if is_test {
        let limit = args.timeout.map_or(Some(LIMIT), |(_, limit)| limit);
        let limit = limit.map_or_else(
            || quote!(::core::option::Option::None),
            |limit| {
                let ms = limit.as_millis() as u64;
                quote!(::core::option::Option::Some(::core::time::Duration::from_millis(#ms)))
            },
        );
        let full = quote!(::core::concat!(::core::module_path!(), "::", ::core::stringify!(#name)));
        let leaks = args.leaks.unwrap_or_else(|| Ident::new("Tell", Span::call_site()));
        let leaks = quote!(#krate::runtime::Leaks::#leaks);
        let run = quote!(#krate::runtime::run_test(#full, #limit, #leaks, || #report));
        // The compiler wants those that are to panic without a result.
        let panics = attrs.iter().any(|attribute| attribute.path().is_ident("should_panic"));
        let (result, end) = if panics {
            (quote!(), quote!(;))
        } else {
            (quote!(-> ::std::process::ExitCode), quote!())
        };
        return quote! {
            #(#attrs)* #[::core::prelude::v1::test] #vis fn #name() #result {
                #inner
                #run #end
            }
        }
        .into();
    }
    quote! {
        #(#attrs)* #vis fn #name() -> ::std::process::ExitCode {
            #inner
            #krate::runtime::run_last(|| #report)
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

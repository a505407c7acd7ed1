//! `select!`: its syntax, and what becomes of it.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Block, Expr, Ident, LitBool, Pat, Path, Token, parenthesized, token};

/// A whole select.
pub(crate) struct Select {
    krate: Path,
    biased: LitBool,
    operations: Vec<Operation>,
    default: Option<Default>,
}

struct Operation {
    kind: Kind,
    result: TokenStream,
    body: TokenStream,
}

enum Kind {
    Recv(Expr),
    Send(Expr, Expr),
}

struct Default {
    timeout: Option<Expr>,
    body: TokenStream,
}

impl Parse for Select {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let krate = Path::parse_mod_style(input)?;
        input.parse::<Token![,]>()?;
        let biased = input.parse()?;
        input.parse::<Token![;]>()?;
        let mut select = Self { krate, biased, operations: Vec::new(), default: None };
        if input.is_empty() {
            return Err(input.error(
                "no cases: expected `recv(…)`, `send(…)` or `default` (to block for ever, park the thread)",
            ));
        }
        while !input.is_empty() {
            select.parse_case(input)?;
        }
        Ok(select)
    }
}

const EXPECTED: &str = "expected `recv(receiver) -> result => …`, `send(sender, message) -> result => …`, `default => …` or \
     `default(timeout) => …`";

impl Select {
    fn parse_case(&mut self, input: ParseStream<'_>) -> syn::Result<()> {
        let name: Ident = input.parse().map_err(|e| syn::Error::new(e.span(), EXPECTED))?;
        let arguments = if input.peek(token::Paren) {
            let inner;
            parenthesized!(inner in input);
            Some(Punctuated::<Expr, Token![,]>::parse_terminated(&inner)?)
        } else {
            None
        };
        let mut arguments = arguments.map(Punctuated::into_iter);
        let mut next = || arguments.as_mut().and_then(Iterator::next);
        let kind = match name.to_string().as_str() {
            "recv" => match (next(), next()) {
                (Some(receiver), None) => Kind::Recv(receiver),
                _ => return Err(syn::Error::new(name.span(), "`recv` takes a receiver")),
            },
            "send" => match (next(), next(), next()) {
                (Some(sender), Some(message), None) => Kind::Send(sender, message),
                _ => {
                    return Err(syn::Error::new(
                        name.span(),
                        "`send` takes a sender and a message",
                    ));
                }
            },
            "default" => {
                let (timeout, more) = (next(), next());
                if more.is_some() {
                    return Err(syn::Error::new(name.span(), "`default` takes at most a timeout"));
                }
                if self.default.is_some() {
                    return Err(syn::Error::new(name.span(), "there can be only one `default`"));
                }
                if input.peek(Token![->]) {
                    return Err(input.error("`default` has no result: expected `=>`"));
                }
                self.default = Some(Default { timeout, body: body(input)? });
                return Ok(());
            }
            _ => return Err(syn::Error::new(name.span(), EXPECTED)),
        };
        let result = if input.parse::<Option<Token![->]>>()?.is_some() {
            let pattern = Pat::parse_multi_with_leading_vert(input)?;
            quote!(#pattern)
        } else {
            quote!(_)
        };
        let body = body(input)?;
        self.operations.push(Operation { kind, result, body });
        Ok(())
    }

    pub(crate) fn expand(self) -> TokenStream {
        let krate = &self.krate;
        let cases = quote!(#krate::chan::cases);
        let name = |what: &str, i: usize| {
            let mut ident = format_ident!("__{what}_{i}");
            ident.set_span(Span::mixed_site());
            ident
        };
        let (mut make, mut all, mut arms) = (Vec::new(), Vec::new(), Vec::new());
        for (i, Operation { kind, result, body }) in self.operations.iter().enumerate() {
            let (on, case) = (name("on", i), name("case", i));
            let (kind, value) = match kind {
                Kind::Recv(_) => (quote!(Recv), quote!(#case.result())),
                Kind::Send(_, message) => (quote!(Send), quote!(#case.room().send(#message))),
            };
            let (Kind::Recv(end) | Kind::Send(end, _)) = &self.operations[i].kind;
            // What is not one is told of where it stands.
            make.push(quote_spanned!(end.span()=> let mut #case = #cases::#kind::new(#on);));
            all.push(quote!(#case.case()));
            arms.push(quote! {
                ::core::option::Option::Some(#i) => {
                    let #result = #value;
                    #body
                }
            });
        }
        let (default, last) = match self.default {
            None => (quote!(None), quote!(::core::unreachable!("select! without a default"))),
            Some(Default { timeout: None, body }) => (quote!(Now), body),
            Some(Default { timeout: Some(timeout), body }) => (quote!(After(#timeout)), body),
        };
        let biased = &self.biased;
        let chosen = quote! {
            #(#make)*
            match #cases::choose(&[#(#all),*], #cases::Default::#default, #biased) {
                #(#arms)*
                _ => { #last }
            }
        };
        // Temporaries of the expressions live as long as the whole.
        self.operations.iter().enumerate().rev().fold(quote!({ #chosen }), |inner, (i, one)| {
            let on = name("on", i);
            let (Kind::Recv(end) | Kind::Send(end, _)) = &one.kind;
            quote!(match &(#end) { #on => #inner })
        })
    }
}

/// `=> code`, and what separates it from the next case.
fn body(input: ParseStream<'_>) -> syn::Result<TokenStream> {
    input.parse::<Token![=>]>()?;
    let body = if input.peek(token::Brace) {
        let block: Block = input.parse()?;
        input.parse::<Option<Token![,]>>()?;
        quote!(#block)
    } else {
        let expr: Expr = input.parse()?;
        if !input.is_empty() && !input.peek(Token![;]) {
            input.parse::<Token![,]>()?;
        }
        quote!(#expr)
    };
    input.parse::<Option<Token![;]>>()?;
    Ok(body)
}

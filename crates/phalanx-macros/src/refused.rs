//! What a refused function becomes: the message, and something that draws no further ones.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Error, ItemFn};

/// There is a `main` all the same, and what the user's function uses is used.
pub(crate) fn main(error: &Error, item: TokenStream) -> TokenStream {
    let message = error.to_compile_error();
    let rest = without_attributes(item).map(|function| {
        quote! {
            fn main() {
                #[allow(dead_code)]
                #function
            }
        }
    });
    quote!(#message #rest)
}

/// What the user's function uses is used.
pub(crate) fn test(error: &Error, item: TokenStream) -> TokenStream {
    let message = error.to_compile_error();
    let rest = without_attributes(item).map(|function| {
        quote! {
            #[allow(dead_code)]
            #function
        }
    });
    quote!(#message #rest)
}

fn without_attributes(item: TokenStream) -> Option<ItemFn> {
    let mut function: ItemFn = syn::parse2(item).ok()?;
    function.attrs.clear();
    Some(function)
}

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Error, ItemFn, Result};

use crate::options::MainOptions;
use crate::signature;

pub(crate) fn expand(arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let options = MainOptions::parse(arguments)?;
    let mut function: ItemFn = syn::parse2(item)?;
    if function.sig.ident != "main" {
        let advice = "#[phalanx::main] belongs on `fn main(world: Comm)`; for a test there is \
                      #[phalanx::test]";
        return Err(Error::new_spanned(&function.sig.ident, advice));
    }
    signature::check(&function, "#[phalanx::main]")?;

    let attributes = std::mem::take(&mut function.attrs);
    let visibility = std::mem::replace(&mut function.vis, syn::Visibility::Inherited);
    let run = match options.threads {
        Some(level) => quote!(::phalanx::run_with(#level, main)),
        None => quote!(::phalanx::run(main)),
    };
    Ok(quote! {
        #(#attributes)*
        #visibility fn main() -> ::std::process::ExitCode {
            #function
            #run
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(item: &str) -> String {
        let error = expand(TokenStream::new(), item.parse().unwrap()).unwrap_err();
        error.to_string()
    }

    #[test]
    fn main_is_wrapped_and_keeps_its_attributes_outside() {
        let item = quote! {
            #[allow(dead_code)]
            fn main(world: Comm) -> phalanx::Result<()> { Ok(()) }
        };
        let expected = quote! {
            #[allow(dead_code)]
            fn main() -> ::std::process::ExitCode {
                fn main(world: Comm) -> phalanx::Result<()> { Ok(()) }
                ::phalanx::run_with(::phalanx::Threading::Multiple, main)
            }
        };
        let expanded = expand(quote!(threads = "multiple"), item).unwrap();
        assert_eq!(expanded.to_string(), expected.to_string());
    }

    #[test]
    fn wrong_signatures_are_refused_with_the_right_one() {
        assert!(message("fn main() {}").contains("write `fn main(world: Comm)`"));
        assert!(message("fn main(world: &Comm) {}").contains("by value"));
        assert!(message("fn main(a: Comm, b: u8) {}").contains("the world alone"));
        assert!(message("async fn main(world: Comm) {}").contains("async"));
        assert!(message("unsafe fn main(world: Comm) {}").contains("unsafe"));
        assert!(message("fn main<T>(world: Comm) {}").contains("generic"));
        assert!(message("fn start(world: Comm) {}").contains("#[phalanx::test]"));
    }
}

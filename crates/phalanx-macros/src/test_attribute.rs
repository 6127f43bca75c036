use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{Attribute, Error, ItemFn, Result};

use crate::options::TestOptions;
use crate::signature;

pub(crate) fn expand(arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let options = TestOptions::parse(arguments)?;
    let mut function: ItemFn = syn::parse2(item)?;
    signature::check(&function, "#[phalanx::test]")?;
    let attributes = Attributes::sort(std::mem::take(&mut function.attrs))?;

    let TestOptions { ranks, timeout, threads, environment } = options;
    let milliseconds = timeout.as_millis() as u64;
    let variables = environment.iter().map(|(name, value)| quote!((#name, #value)));
    let variables = quote!(&[#(#variables),*]);
    let name = &function.sig.ident;
    let Attributes { of_tests, of_all, of_function } = &attributes;
    let tests = ranks.iter().map(|count| {
        let test = format_ident!("ranks_{count}");
        let test_name = format!("::{test}");
        quote! {
            #[::core::prelude::v1::test]
            #(#of_tests)*
            fn #test() {
                ::phalanx::testing::run(
                    &::phalanx::testing::Test {
                        name: ::core::concat!(::core::module_path!(), #test_name),
                        ranks: #count,
                        timeout: ::core::time::Duration::from_millis(#milliseconds),
                        threads: #threads,
                        environment: #variables,
                    },
                    super::#name,
                )
            }
        }
    });
    // A function and a module may have the same name. So the function stays where it was written,
    // and names in it mean what they meant there.
    Ok(quote! {
        #(#of_all)*
        #[cfg(test)]
        #(#of_function)*
        #function

        #(#of_all)*
        #[cfg(test)]
        mod #name {
            #(#tests)*
        }
    })
}

/// The user's attributes, by what they are put on.
struct Attributes {
    of_tests: Vec<Attribute>,
    of_all: Vec<Attribute>,
    of_function: Vec<Attribute>,
}

impl Attributes {
    fn sort(attributes: Vec<Attribute>) -> Result<Attributes> {
        let mut sorted =
            Attributes { of_tests: Vec::new(), of_all: Vec::new(), of_function: Vec::new() };
        for attribute in attributes {
            let path = attribute.path();
            if path.is_ident("test") {
                let advice = "#[phalanx::test] makes the tests: remove this #[test]";
                return Err(Error::new_spanned(attribute, advice));
            }
            let of_tests = ["should_panic", "ignore", "cfg_attr"];
            if of_tests.iter().any(|name| path.is_ident(name)) {
                sorted.of_tests.push(attribute);
            } else if path.is_ident("cfg") {
                sorted.of_all.push(attribute);
            } else {
                sorted.of_function.push(attribute);
            }
        }
        Ok(sorted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand_text(arguments: &str, item: &str) -> Result<String> {
        let expanded = expand(arguments.parse().unwrap(), item.parse().unwrap())?;
        Ok(expanded.to_string())
    }

    #[test]
    fn there_is_a_test_for_each_number_of_ranks() {
        let text = expand_text("ranks = [1, 4]", "fn sum(world: Comm) {}").unwrap();
        assert!(text.contains("mod sum"), "{text}");
        assert!(text.contains("fn ranks_1 ()") && text.contains("fn ranks_4 ()"), "{text}");
        assert!(text.contains("\"::ranks_4\""), "{text}");
        assert!(!text.contains("fn ranks_2 ()"), "{text}");
    }

    #[test]
    fn attributes_go_where_they_belong() {
        let item = "/// Adds.\n#[should_panic(expected = \"x\")] #[ignore = \"slow\"] \
                    #[cfg(unix)] #[allow(unused)] fn sum(world: Comm) {}";
        let text = expand_text("ranks = [1, 2]", item).unwrap();
        assert_eq!(text.matches("should_panic").count(), 2, "{text}");
        assert_eq!(text.matches("ignore").count(), 2, "{text}");
        assert_eq!(text.matches("cfg (unix)").count(), 2, "{text}");
        assert_eq!(text.matches("allow (unused)").count(), 1, "{text}");
        assert_eq!(text.matches("Adds.").count(), 1, "{text}");
    }

    #[test]
    fn a_second_test_attribute_is_refused() {
        let error = expand_text("", "#[test] fn sum(world: Comm) {}").unwrap_err();
        assert!(error.to_string().contains("remove this #[test]"), "{error}");
        let error = expand_text("", "fn sum() {}").unwrap_err();
        assert!(error.to_string().contains("write `fn sum(world: Comm)`"), "{error}");
    }
}

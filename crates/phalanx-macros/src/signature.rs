//! What the functions under `#[phalanx::main]` and `#[phalanx::test]` have in common.

use syn::{Error, FnArg, ItemFn, Result, Type};

/// Checks that the function takes the world by value and nothing else.
pub(crate) fn check(function: &ItemFn, attribute: &str) -> Result<()> {
    let signature = &function.sig;
    let name = &signature.ident;
    let model = format!("`fn {name}(world: Comm)`");
    if let Some(token) = &signature.asyncness {
        let advice = format!(
            "{attribute} does not take an async function: write {model} and block on your \
             runtime inside it"
        );
        return Err(Error::new_spanned(token, advice));
    }
    if let Some(token) = &signature.unsafety {
        let advice = format!("{attribute} does not take an unsafe function: write {model}");
        return Err(Error::new_spanned(token, advice));
    }
    if !signature.generics.params.is_empty() {
        let advice = format!("{attribute} does not take a generic function: write {model}");
        return Err(Error::new_spanned(&signature.generics, advice));
    }
    let mut inputs = signature.inputs.iter();
    match (inputs.next(), inputs.next()) {
        (Some(FnArg::Typed(world)), None) => match &*world.ty {
            Type::Reference(reference) => {
                let advice = format!("the world is passed by value: write {model}");
                Err(Error::new_spanned(reference, advice))
            }
            _ => Ok(()),
        },
        (None, _) => {
            let advice = format!("{attribute} gives the function the world: write {model}");
            Err(Error::new_spanned(&signature.ident, advice))
        }
        _ => {
            let advice = format!("{attribute} gives the function the world alone: write {model}");
            Err(Error::new_spanned(&signature.inputs, advice))
        }
    }
}

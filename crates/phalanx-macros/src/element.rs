use proc_macro2::TokenStream;
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{
    Data, DeriveInput, Error, Fields, GenericParam, Meta, Path, Result, Token, parse_quote,
    punctuated::Punctuated,
};

/// The expansion names no item of its own: nothing that a user's struct mentions can mean something else
/// inside of it.
pub(crate) fn expand(item: TokenStream) -> Result<TokenStream> {
    let input: DeriveInput = syn::parse2(item)?;
    let fields = fields(&input)?;
    refuse_lifetimes(&input)?;
    require_fixed_layout(&input)?;
    let library = library(&input)?;

    let name = &input.ident;
    let types: Vec<_> = fields.iter().map(|field| &field.ty).collect();
    let entries = fields.members().zip(&types).map(|(member, ty)| {
        // The span makes the compiler point at a field whose type is no element.
        quote_spanned! {ty.span()=>
            #library::derive::Field::new::<#ty>(::core::mem::offset_of!(Self, #member))
        }
    });
    let padding = format!(
        "`{name}` has padding bytes, whose contents are undefined: reorder the fields from large \
         to small, or fill the gap with a field such as `_pad: [u8; 4]`"
    );
    let mut generics = input.generics.clone();
    for parameter in &mut generics.params {
        if let GenericParam::Type(parameter) = parameter {
            parameter.bounds.push(parse_quote!(#library::Element));
        }
    }
    let (parameters, arguments, conditions) = generics.split_for_impl();
    let no_padding = |this: TokenStream| {
        quote_spanned! {name.span()=>
            ::core::assert!(
                0 #(+ ::core::mem::size_of::<#types>())* == ::core::mem::size_of::<#this>(),
                #padding
            );
        }
    };
    // A generic struct is checked when its types are known, any other at once.
    let (checked_here, checked_later) = if generics.params.is_empty() {
        let check = no_padding(quote!(#name));
        let allowed = quote!(#[allow(clippy::identity_op)]);
        (quote_spanned!(name.span()=> #allowed const _: () = #check), quote!())
    } else {
        (quote!(), no_padding(quote!(Self)))
    };
    Ok(quote! {
        // SAFETY: the layout is fixed by its `repr`, each field is an element, and `ITEMS` shows
        // that there is nothing between and behind them.
        #[automatically_derived]
        unsafe impl #parameters #library::Element for #name #arguments #conditions {
            #[allow(clippy::identity_op)]
            const ITEMS: ::core::primitive::usize = {
                #checked_later
                #library::derive::items::<Self>()
            };

            fn datatype() -> #library::derive::Handle {
                #library::derive::datatype_of::<Self>(&[#(#entries),*])
            }
        }

        #[automatically_derived]
        impl #parameters #library::SingleElement for #name #arguments #conditions {}

        #checked_here
    })
}

/// The path of `phalanx`: what `#[element(crate = …)]` says, where it is not a dependency of that name.
fn library(input: &DeriveInput) -> Result<TokenStream> {
    let mut library = quote!(::phalanx);
    for attribute in input.attrs.iter().filter(|attribute| attribute.path().is_ident("element")) {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("crate") {
                return Err(meta.error("the only option is `crate = path::to::phalanx`"));
            }
            library = meta.value()?.call(Path::parse_mod_style)?.into_token_stream();
            Ok(())
        })?;
    }
    Ok(library)
}

fn fields(input: &DeriveInput) -> Result<&Fields> {
    match &input.data {
        Data::Struct(data) => Ok(&data.fields),
        Data::Enum(data) => Err(Error::new_spanned(
            data.enum_token,
            "an enum cannot be sent typed: bytes that name no variant would be undefined \
             behaviour. Send its number, or send it as an object (`send_object`)",
        )),
        Data::Union(data) => Err(Error::new_spanned(
            data.union_token,
            "a union cannot be sent typed: nothing says which of its fields is valid",
        )),
    }
}

fn refuse_lifetimes(input: &DeriveInput) -> Result<()> {
    match input.generics.lifetimes().next() {
        None => Ok(()),
        Some(lifetime) => Err(Error::new_spanned(
            lifetime,
            "an element cannot borrow: an address means nothing on another rank. Send what it points to, \
             or send the value as an object (`send_object`)",
        )),
    }
}

fn require_fixed_layout(input: &DeriveInput) -> Result<()> {
    for attribute in input.attrs.iter().filter(|attribute| attribute.path().is_ident("repr")) {
        let words = attribute.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated)?;
        let fixed = |word: &Meta| word.path().is_ident("C") || word.path().is_ident("transparent");
        if words.iter().any(fixed) {
            return Ok(());
        }
    }
    Err(Error::new_spanned(
        &input.ident,
        "an element needs a fixed layout, the same on every rank: add `#[repr(C)]`",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(item: &str) -> String {
        expand(item.parse().unwrap()).unwrap_err().to_string()
    }

    #[test]
    fn every_field_is_described_once() {
        let item = quote! {
            #[repr(C)]
            struct Particle { x: f64, id: [u32; 2] }
        };
        let text = expand(item).unwrap().to_string();
        for part in
            ["Field :: new :: < f64 >", "offset_of ! (Self , id)", "size_of :: < [u32 ; 2] >"]
        {
            assert!(text.contains(part), "{part} in {text}");
        }
        let text = expand(quote!(
            #[repr(transparent)]
            struct Metres(f64);
        ))
        .unwrap()
        .to_string();
        assert!(text.contains("offset_of ! (Self , 0)"), "{text}");
    }

    #[test]
    fn the_library_may_have_another_name() {
        let item = quote! {
            #[repr(C)]
            #[element(crate = crate::reexported::phalanx)]
            struct Pair<T: Send, const N: usize> where T: Sync { values: [T; N] }
        };
        let text = expand(item).unwrap().to_string();
        let implementation = "unsafe impl < T : Send + crate :: reexported :: phalanx :: Element , const N : usize > \
             crate :: reexported :: phalanx :: Element for Pair < T , N > where T : Sync";
        assert!(text.contains(implementation), "{text}");
    }

    #[test]
    fn what_cannot_be_an_element_is_refused_with_the_reason() {
        assert!(message("#[repr(C)] enum A { B }").contains("name no variant"));
        assert!(message("#[repr(C)] union A { b: u8 }").contains("union"));
        assert!(message("#[repr(C)] struct A<'a, T> { b: &'a T }").contains("cannot borrow"));
        assert!(message("#[repr(C)] #[element(path = a)] struct A;").contains("crate = "));
        assert!(message("struct A { b: u8 }").contains("#[repr(C)]"));
        assert!(message("#[repr(align(8))] struct A { b: u64 }").contains("#[repr(C)]"));
    }
}

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Error, Fields, Meta, Result, Token, punctuated::Punctuated};

pub(crate) fn expand(item: TokenStream) -> Result<TokenStream> {
    let input: DeriveInput = syn::parse2(item)?;
    let fields = fields(&input)?;
    refuse_generics(&input)?;
    require_fixed_layout(&input)?;

    let name = &input.ident;
    let types: Vec<_> = fields.iter().map(|field| &field.ty).collect();
    let entries = fields.members().zip(&types).map(|(member, ty)| {
        // The span makes the compiler point at a field whose type is no element.
        quote_spanned! {ty.span()=>
            ::phalanx::derive::Field::new::<#ty>(::core::mem::offset_of!(#name, #member))
        }
    });
    let padding = format!(
        "`{name}` has padding bytes, whose contents are undefined: reorder the fields from large \
         to small, or fill the gap with a field such as `_pad: [u8; 4]`"
    );
    let no_padding = quote_spanned! {name.span()=>
        const _: () = ::core::assert!(
            #(::core::mem::size_of::<#types>())+* == ::core::mem::size_of::<#name>(),
            #padding
        );
    };
    Ok(quote! {
        // SAFETY: the layout is fixed by its `repr`, each field is an element, and the assertion
        // below shows that there is nothing between and behind them.
        #[automatically_derived]
        unsafe impl ::phalanx::Element for #name {
            fn datatype() -> ::phalanx::derive::Handle {
                static CELL: ::phalanx::derive::Cell = ::phalanx::derive::Cell::new();
                CELL.get_or_build::<#name>(&[#(#entries),*])
            }
        }

        #[automatically_derived]
        impl ::phalanx::SingleElement for #name {}

        #no_padding
    })
}

fn fields(input: &DeriveInput) -> Result<&Fields> {
    match &input.data {
        Data::Struct(data) if data.fields.is_empty() => {
            Err(Error::new_spanned(&input.ident, "a struct without fields has no bytes to send"))
        }
        Data::Struct(data) => Ok(&data.fields),
        Data::Enum(data) => Err(Error::new_spanned(
            data.enum_token,
            "an enum cannot travel typed: bytes that name no variant would be undefined \
             behaviour. Send its number, or send it as an object (`send_object`)",
        )),
        Data::Union(data) => Err(Error::new_spanned(
            data.union_token,
            "a union cannot travel typed: nothing says which of its fields is valid",
        )),
    }
}

fn refuse_generics(input: &DeriveInput) -> Result<()> {
    if input.generics.params.is_empty() {
        return Ok(());
    }
    let name = &input.ident;
    let advice = format!(
        "an element is a concrete type, because its MPI datatype is built once and its padding \
         is checked once: write a struct for each type that you send, such as \
         `struct {name}F64 {{ … }}`"
    );
    Err(Error::new_spanned(&input.generics, advice))
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
            ["Field :: new :: < f64 >", "offset_of ! (Particle , id)", "size_of :: < [u32 ; 2] >"]
        {
            assert!(text.contains(part), "{part} in {text}");
        }
        let text = expand(quote!(
            #[repr(transparent)]
            struct Metres(f64);
        ))
        .unwrap()
        .to_string();
        assert!(text.contains("offset_of ! (Metres , 0)"), "{text}");
    }

    #[test]
    fn what_cannot_be_an_element_is_refused_with_the_reason() {
        assert!(message("#[repr(C)] enum A { B }").contains("name no variant"));
        assert!(message("#[repr(C)] union A { b: u8 }").contains("union"));
        assert!(message("#[repr(C)] struct A<T> { b: T }").contains("struct AF64"));
        assert!(message("#[repr(C)] struct A;").contains("no bytes"));
        assert!(message("struct A { b: u8 }").contains("#[repr(C)]"));
        assert!(message("#[repr(align(8))] struct A { b: u64 }").contains("#[repr(C)]"));
    }
}

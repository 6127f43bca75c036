//! What stands before each value in the described format.

macro_rules! kinds {
    ($($name:ident = $byte:literal,)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub(super) enum Kind {
            $($name = $byte,)*
        }

        impl Kind {
            pub fn of(byte: u8) -> Option<Kind> {
                match byte {
                    $($byte => Some(Kind::$name),)*
                    _ => None,
                }
            }
        }
    };
}

kinds! {
    Unit = 0x01,
    False = 0x02,
    True = 0x03,
    None = 0x04,
    Some = 0x05,
    I8 = 0x10,
    I16 = 0x11,
    I32 = 0x12,
    I64 = 0x13,
    I128 = 0x14,
    U8 = 0x18,
    U16 = 0x19,
    U32 = 0x1a,
    U64 = 0x1b,
    U128 = 0x1c,
    F32 = 0x20,
    F64 = 0x21,
    Char = 0x22,
    // A length follows.
    Text = 0x30,
    Bytes = 0x31,
    Seq = 0x32,
    Map = 0x33,
    // Elements or entries follow, then `End`.
    OpenSeq = 0x34,
    OpenMap = 0x35,
    End = 0x3f,
    // A name follows, then the content.
    UnitVariant = 0x40,
    Variant = 0x41,
}

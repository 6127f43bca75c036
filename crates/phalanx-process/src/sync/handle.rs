//! What all handles have in common.

/// Makes a type with a field `object` a handle: it can be cloned, compared, shown and sent.
macro_rules! handle {
    ($handle:ident $(<$item:ident>)?, $what:literal $(, $rest:ident)*) => {
        impl $(<$item>)? Clone for $handle $(<$item>)? {
            fn clone(&self) -> Self {
                Self { object: self.object.clone(), $($rest: self.$rest.clone())* }
            }
        }

        impl $(<$item>)? PartialEq for $handle $(<$item>)? {
            fn eq(&self, other: &Self) -> bool {
                self.object == other.object
            }
        }

        impl $(<$item>)? Eq for $handle $(<$item>)? {}

        impl $(<$item>)? std::fmt::Debug for $handle $(<$item>)? {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{} {}", stringify!($handle), self.object.number())
            }
        }

        impl $(<$item>)? serde::Serialize for $handle $(<$item>)? {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.object.serialize_as(serializer, crate::arena::fingerprint::<Self>())
            }
        }

        impl<'de $(, $item)?> serde::Deserialize<'de> for $handle $(<$item>)? {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let wanted = crate::arena::fingerprint::<Self>();
                let object = crate::arena::Object::deserialize_as(deserializer, wanted)?;
                Ok(Self { object, $($rest: Default::default())* })
            }
        }

        impl $(<$item>)? $handle $(<$item>)? {
            /// Which one it is, for messages.
            #[allow(dead_code, reason = "not all handles have errors")]
            pub(crate) fn subject(&self) -> String {
                format!(concat!($what, " {}"), self.object.number())
            }
        }
    };
}

pub(crate) use handle;

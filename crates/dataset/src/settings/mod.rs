//! The typed settings of data and task: what a recipe's `dataset:` and `task:` sections mean.
//!
//! They live beside the code that obeys them; the recipe crate only composes them. Unknown keys are errors everywhere, and every
//! type carries its JSON schema.

mod labels;
mod scalar;
mod source;
mod task;

pub use labels::{LabelSet, LabelSpec, Resolve};
pub use scalar::{Condition, Scalar};
pub use source::{ColumnSpec, DatasetSpec, FileFormat, SampleBy, Shape, SourceEntry, Tags, ValSize};
pub use task::{ClassifyTask, SftTask, TaskSpec, TemplateName, TextTask, Truncation};

/// Implements serde for a struct that may also be written in a short form (a plain scalar or list).
///
/// The struct derives serde with `remote = "Self"`; the short form goes through the function given. Unlike an untagged enum this
/// keeps serde's precise messages (which key, which type) for the long form.
macro_rules! short_form {
    ($type:ident, $expecting:literal, { $($visit:item)* }) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                Self::serialize(self, serializer)
            }
        }
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl<'de> serde::de::Visitor<'de> for Visitor {
                    type Value = $type;
                    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                        f.write_str($expecting)
                    }
                    fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                        $type::deserialize(serde::de::value::MapAccessDeserializer::new(map))
                    }
                    $($visit)*
                }
                deserializer.deserialize_any(Visitor)
            }
        }
    };
}
pub(crate) use short_form;

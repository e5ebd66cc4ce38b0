//! One JSON schema for the whole recipe, put together from the types that obey it. Editors complete and check with it; the check of
//! unknown keys walks it.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value as Json, json};
use train::{FinetuningArguments, TrainingArguments};

use crate::settings::Top;

/// The schema (draft 2020-12).
pub fn json_schema() -> Json {
    let mut properties = Map::new();
    let mut definitions = Map::new();
    let mut required = Json::Null;
    let generate = || SchemaSettings::draft2020_12().into_generator();
    let parts = [
        generate().into_root_schema_for::<Top>(),
        generate().into_root_schema_for::<FinetuningArguments>(),
        generate().into_root_schema_for::<TrainingArguments>(),
    ];
    for (i, part) in parts.into_iter().enumerate() {
        let Json::Object(mut part) = part.to_value() else { continue };
        if let Some(Json::Object(own)) = part.remove("properties") {
            properties.extend(own);
        }
        if let Some(Json::Object(own)) = part.remove("$defs") {
            definitions.extend(own);
        }
        if i == 0 {
            required = part.remove("required").unwrap_or_default();
        }
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Tunesmith recipe",
        "description": "One run: model, data, task, what trains and how. Other tools' names for these keys are accepted as well.",
        "type": "object",
        "additionalProperties": false,
        "required": required,
        "properties": properties,
        "$defs": definitions,
    })
}

//! Refuses keys that the schema does not know, at any depth, and names the one that was probably meant.
//!
//! Serde's own `deny_unknown_fields` remains as the second line; it cannot say the line of the file or the nearest name.

use serde_json::Value as Json;

use crate::RecipeError;
use crate::document::{Node, Value};

/// Similarity (Jaro-Winkler, 0 to 1) below which a suggestion would only confuse.
const SIMILAR: f64 = 0.8;

/// Walks `node` along `schema` (a JSON schema as schemars writes it); `path` is the dotted way so far.
pub(crate) fn unknown_keys(node: &Node, schema: &Json, root: &Json, path: &str) -> Result<(), RecipeError> {
    let schema = resolve(schema, root);
    if let Some(variants) = schema.get("oneOf").or_else(|| schema.get("anyOf")).and_then(Json::as_array) {
        // Only a choice that is certain is followed; the others' errors are serde's to tell.
        let fitting: Vec<&Json> = variants.iter().map(|v| resolve(v, root)).filter(|v| fits(node, v)).collect();
        if let [only] = fitting[..] {
            return unknown_keys(node, only, root, path);
        }
        return Ok(());
    }
    match &node.value {
        Value::List(items) => {
            if let Some(of) = schema.get("items") {
                for (i, item) in items.iter().enumerate() {
                    unknown_keys(item, of, root, &format!("{path}[{i}]"))?;
                }
            }
            Ok(())
        }
        Value::Map(entries) => {
            let properties = schema.get("properties").and_then(Json::as_object);
            let additional = schema.get("additionalProperties");
            for entry in entries {
                let field = if path.is_empty() { entry.key.clone() } else { format!("{path}.{}", entry.key) };
                if let Some(inner) = properties.and_then(|p| p.get(&entry.key)) {
                    unknown_keys(&entry.node, inner, root, &field)?;
                } else if additional == Some(&Json::Bool(false)) {
                    let known = properties.into_iter().flatten().map(|(name, _)| name.as_str());
                    let nearest = nearest(&entry.key, known);
                    return Err(RecipeError::UnknownKey { place: entry.place.clone(), field, nearest });
                } else if let Some(inner) = additional.filter(|a| a.is_object()) {
                    unknown_keys(&entry.node, inner, root, &field)?;
                }
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// The candidate most like `name`, if any is like it at all.
pub(crate) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<String> {
    let scored = candidates.map(|c| (strsim::jaro_winkler(name, c), c));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0).then_with(|| b.1.cmp(a.1)));
    best.filter(|(score, _)| *score >= SIMILAR).map(|(_, c)| c.to_owned())
}

fn resolve<'s>(mut schema: &'s Json, root: &'s Json) -> &'s Json {
    while let Some(target) = schema.get("$ref").and_then(Json::as_str) {
        match root.pointer(target.trim_start_matches('#')) {
            Some(found) => schema = found,
            None => break,
        }
    }
    schema
}

/// Whether a value could be meant for this variant: its JSON type, and for tagged variants the tag.
fn fits(node: &Node, schema: &Json) -> bool {
    let name = match &node.value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Int(_) => "integer",
        Value::Float(_) => "number",
        Value::Str(_) => "string",
        Value::List(_) => "array",
        Value::Map(_) => "object",
    };
    let type_fits = match schema.get("type") {
        Some(Json::String(t)) => t == name,
        Some(Json::Array(ts)) => ts.iter().any(|t| t == name),
        _ => true,
    };
    let tags_fit = schema.get("properties").and_then(Json::as_object).into_iter().flatten().all(|(key, property)| {
        let Some(tag) = property.get("const").and_then(Json::as_str) else { return true };
        node.get(key).is_some_and(|n| n.value == Value::Str(tag.to_owned()))
    });
    type_fits && tags_fit
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(yaml: &str) -> Result<(), String> {
        let schema = json!({
            "additionalProperties": false,
            "properties": {
                "seed": {"type": "integer"},
                "learning_rate": {"type": "number"},
                "dataset": {"$ref": "#/$defs/Dataset"},
                "task": {"oneOf": [
                    {"type": "object", "additionalProperties": false, "properties": {"type": {"const": "classify"}, "labels": {"additionalProperties": {"$ref": "#/$defs/Label"}}}},
                    {"type": "object", "additionalProperties": false, "properties": {"type": {"const": "text"}}}
                ]}
            },
            "$defs": {
                "Dataset": {"additionalProperties": false, "properties": {"sources": {"items": {"additionalProperties": false, "properties": {"source": {}}}}}},
                "Label": {"additionalProperties": false, "properties": {"from": {}, "text": {}}}
            }
        });
        unknown_keys(&Node::parse(yaml, "r.yaml").unwrap(), &schema, &schema, "").map_err(|e| e.to_string())
    }

    #[test]
    fn known_keys_pass() {
        check("seed: 1\ndataset: {sources: [{source: x}]}\ntask: {type: classify, labels: {anything: {from: [1], text: a}}}").unwrap();
    }

    #[test]
    fn unknown_keys_name_line_path_and_nearest() {
        assert_eq!(check("seed: 1\nlearning_rat: 2").unwrap_err(), "r.yaml:2: learning_rat: unknown key; did you mean 'learning_rate'?");
        let nested = check("dataset:\n  sources:\n  - sorce: x").unwrap_err();
        assert_eq!(nested, "r.yaml:3: dataset.sources[0].sorce: unknown key; did you mean 'source'?");
        let tagged = check("task: {type: classify, labels: {neg: {form: 1}}}").unwrap_err();
        assert_eq!(tagged, "r.yaml:1: task.labels.neg.form: unknown key; did you mean 'from'?");
        assert!(check("zzz: 1").unwrap_err().contains("`tunesmith schema` lists all keys"));
    }
}

//! Settings as a recipe writes them: names, aliases, defaults, refusals.

use serde_json::{Value, json};
use train::arguments::{Amount, Optimizer, SchedulerType, Strategy};
use train::finetuning::{LoraInit, LoraTarget};
use train::{FINETUNING_ALIASES, FinetuningArguments, FinetuningType, TRAINING_ALIASES, TrainingArguments};

fn training(value: Value) -> TrainingArguments {
    serde_json::from_value(value).unwrap()
}

fn finetuning(value: Value) -> FinetuningArguments {
    serde_json::from_value(value).unwrap()
}

/// The message with which these settings are refused.
fn refusal(value: Value) -> String {
    let error = training(value).validate().unwrap_err();
    assert!(error.is_user_input());
    error.to_string()
}

#[test]
fn defaults_are_those_of_hugging_face() {
    let settings = training(json!({}));
    assert_eq!(settings, TrainingArguments::default());
    let value = serde_json::to_value(&settings).unwrap();
    // transformers.TrainingArguments() of version 5
    for (key, expected) in [
        ("per_device_train_batch_size", json!(8)),
        ("learning_rate", json!(5e-5)),
        ("weight_decay", json!(0.0)),
        ("adam_beta1", json!(0.9)),
        ("adam_beta2", json!(0.999)),
        ("adam_epsilon", json!(1e-8)),
        ("max_grad_norm", json!(1.0)),
        ("num_train_epochs", json!(3.0)),
        ("max_steps", json!(-1)),
        ("lr_scheduler_type", json!("linear")),
        ("seed", json!(42)),
        ("eval_strategy", json!("no")),
        ("save_strategy", json!("steps")),
        ("save_steps", json!(500.0)),
        ("save_total_limit", Value::Null),
        ("load_best_model_at_end", json!(false)),
    ] {
        assert_eq!(value[key], expected, "{key}");
    }
}

#[test]
fn settings_survive_a_round_trip() {
    let settings = training(json!({"learning_rate": "2e-4", "warmup_steps": 0.1, "optim": "adamw_torch_fused", "eval_strategy": "epoch",
        "lr_scheduler_type": "constant_with_warmup", "report_to": ["tensorboard"], "early_stopping_patience": 3}));
    assert_eq!(settings.learning_rate, 2e-4);
    assert_eq!((settings.warmup_steps, settings.optim), (Amount(0.1), Optimizer::AdamW));
    assert_eq!((settings.lr_scheduler_type, settings.eval_strategy), (SchedulerType::Constant, Strategy::Epoch));
    assert_eq!(training(serde_json::to_value(&settings).unwrap()), settings);
    let tuning = finetuning(json!({"finetuning_type": "freeze", "freeze_trainable_names": "layers.1, layers.2", "modules_to_save": null}));
    assert_eq!(finetuning(serde_json::to_value(&tuning).unwrap()), tuning);
}

#[test]
fn every_alias_means_its_key() {
    for (aliases, keys, parse) in [
        (TRAINING_ALIASES, TrainingArguments::keys(), (|v| serde_json::from_value::<TrainingArguments>(v).map(|_| ())) as fn(Value) -> _),
        (FINETUNING_ALIASES, FinetuningArguments::keys(), |v| serde_json::from_value::<FinetuningArguments>(v).map(|_| ())),
    ] {
        for (alias, key) in aliases {
            assert!(keys.iter().any(|known| known == key), "{key}");
            // A wrong type is refused in the words of the key's type, an unknown key as unknown.
            let error = parse(json!({ *alias: {"no": "such"} })).unwrap_err().to_string();
            assert!(!error.contains("unknown field"), "{alias}: {error}");
        }
    }
    assert_eq!(training(json!({"evaluation_strategy": "steps", "early_stopping_steps": 2})).early_stopping_patience, Some(2));
    assert_eq!(finetuning(json!({"r": 4, "target_modules": ["q_proj"]})).lora_target, LoraTarget::Names(vec!["q_proj".into()]));
}

#[test]
fn unknown_keys_are_refused() {
    let error = serde_json::from_value::<TrainingArguments>(json!({"learning_rat": 1})).unwrap_err();
    assert!(error.to_string().contains("learning_rat"), "{error}");
    assert!(serde_json::from_value::<FinetuningArguments>(json!({"lora_rang": 1})).is_err());
}

#[test]
fn what_cannot_be_honoured_is_refused_by_name() {
    for (value, words) in [
        (json!({"bf16": true, "compute_dtype": "f32"}), ["bf16", "compute_dtype"]),
        (json!({"fp16": true}), ["fp16", "compute_dtype"]),
        (json!({"learning_rate": -1}), ["learning_rate", "negative"]),
        (json!({"max_steps": 0}), ["max_steps", "-1"]),
        (json!({"save_steps": 2.5}), ["save_steps", "whole"]),
        (json!({"logging_steps": 0}), ["logging_steps", "`no`"]),
        (json!({"warmup_steps": 3, "warmup_ratio": 0.1}), ["warmup_ratio", "warmup_steps"]),
        (json!({"load_best_model_at_end": true}), ["load_best_model_at_end", "eval_strategy"]),
        (json!({"early_stopping_patience": 2}), ["early_stopping_patience", "eval_strategy"]),
        (json!({"gradient_accumulation_steps": 0}), ["gradient_accumulation_steps", "at least 1"]),
        (json!({"adam_beta2": 1.0}), ["adam_beta2", "below 1"]),
        (json!({"num_train_epochs": 0}), ["num_train_epochs", "positive"]),
        (json!({"save_total_limit": 0}), ["save_total_limit", "at least 1"]),
    ] {
        let message = refusal(value);
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
    }
    training(json!({})).validate().unwrap();
    assert!(serde_json::from_value::<TrainingArguments>(json!({"optim": "adafactor"})).is_err());
    assert!(serde_json::from_value::<TrainingArguments>(json!({"lr_scheduler_type": "polynomial"})).is_err());
}

#[test]
fn lora_settings() {
    let defaults = finetuning(json!({}));
    assert_eq!((defaults.finetuning_type, defaults.lora_rank, defaults.alpha()), (FinetuningType::Lora, 8, 16.0));
    let target = |value: Value| finetuning(json!({ "lora_target": value })).lora_target;
    let names = |names: &[&str]| LoraTarget::Names(names.iter().map(|name| name.to_string()).collect());
    assert_eq!(target(json!("all")), LoraTarget::AllLinear);
    assert_eq!(target(json!("all-linear")), LoraTarget::AllLinear);
    assert_eq!(target(json!(["all"])), LoraTarget::AllLinear);
    assert_eq!(target(json!("q_proj,v_proj")), names(&["q_proj", "v_proj"]));
    assert_eq!(target(json!(["q_proj", "self_attn.o_proj"])), names(&["q_proj", "self_attn.o_proj"]));
    let pattern = r".*layers\.\d{1,2}\.self_attn\.[qv]_proj";
    assert_eq!(target(json!(pattern)), LoraTarget::Regex(pattern.into()));
    let init =
        |value: Value| serde_json::from_value::<FinetuningArguments>(json!({ "init_lora_weights": value })).map(|f| f.init_lora_weights);
    assert_eq!(init(json!(true)).unwrap(), LoraInit::Kaiming);
    assert_eq!(init(json!("gaussian")).unwrap(), LoraInit::Gaussian);
    assert!(init(json!("pissa")).unwrap_err().to_string().contains("pissa"));
    let ranks = finetuning(json!({"rank_pattern": {"v_proj": 4, "layers.0": 2}})).rank_pattern.0;
    assert_eq!(ranks, [("v_proj".to_owned(), 4), ("layers.0".to_owned(), 2)], "in the order of the recipe: the first match wins");
    for value in [
        json!({"layers_to_transform": [0]}),
        json!({"lora_rank": 0}),
        json!({"lora_dropout": 1.0}),
        json!({"lora_alpha": 0}),
        json!({"lora_target": []}),
        json!({"train_head": true}),
        json!({"finetuning_type": "freeze", "freeze_trainable_layers": 0}),
    ] {
        assert!(finetuning(value.clone()).validate().unwrap_err().is_user_input(), "{value}");
    }
}

#[test]
fn the_schema_explains_every_key() {
    for (schema, keys) in [
        (schemars::schema_for!(TrainingArguments), TrainingArguments::keys()),
        (schemars::schema_for!(FinetuningArguments), FinetuningArguments::keys()),
    ] {
        let schema = schema.to_value();
        let properties = schema["properties"].as_object().unwrap();
        assert_eq!(properties.len(), keys.len());
        for key in keys {
            assert!(properties[&key]["description"].as_str().is_some_and(|text| text.len() > 10), "{key} is not explained");
        }
        assert_eq!(schema["additionalProperties"], json!(false));
    }
}

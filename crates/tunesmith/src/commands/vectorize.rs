//! `tunesmith vectorize …`

use stages::Result;
use stages::vectorize::{choices, classify, fit, table};

use super::Context;
use crate::cli::vectorize as cli;
use crate::output;

pub fn run(context: &Context, verb: &cli::Vectorize) -> Result<()> {
    match verb {
        cli::Vectorize::Fit(args) => run_fit(context, args),
        cli::Vectorize::Transform(args) => run_transform(context, args),
        cli::Vectorize::Classify(cli::Classify::Train(args)) => run_train(context, args),
        cli::Vectorize::Classify(cli::Classify::Eval(args)) => run_eval(context, args),
        cli::Vectorize::Classify(cli::Classify::Predict(args)) => run_predict(context, args),
        cli::Vectorize::Classify(cli::Classify::Explain(args)) => run_explain(context, args),
    }
}

fn run_fit(context: &Context, args: &cli::Fit) -> Result<()> {
    let data = data(&args.data, &args.rows);
    let report = fit::fit(&context.environment, &data, &features(&args.features), &args.output_dir, args.force, &mut context.screen())?;
    if context.json {
        output::json(&report);
    } else {
        let (rows, columns) = (stages::human::plural(report.rows, "row"), stages::human::count(report.features as u64));
        output::line(format!("{}: {rows}, {columns} features", report.output_dir.display()));
    }
    Ok(())
}

fn run_transform(context: &Context, args: &cli::Transform) -> Result<()> {
    let data = data(args.data.as_deref().unwrap_or_default(), &args.rows);
    let form = match args.form {
        cli::Form::Names => fit::Form::Names,
        cli::Form::Indices => fit::Form::Indices,
        cli::Form::Dense => fit::Form::Dense,
    };
    // One JSON line a row in any case: rows of numbers are for machines.
    fit::transform(&context.environment, &args.dir, &data, &args.text, form, &mut |row| output::json(row), &mut context.screen())
}

fn run_train(context: &Context, args: &cli::ClassifyTrain) -> Result<()> {
    let job = classify::TrainJob {
        data: table::DataChoice {
            label_column: args.label_column.clone(),
            label_map: args.label_map.join(","),
            ..data(&args.data, &args.rows)
        },
        test: args.test.clone(),
        features: features(&args.features),
        learner: learner(&args.learner),
        calibration: match args.calibrate {
            cli::Calibrate::Auto => choices::Calibration::Auto,
            cli::Calibrate::None => choices::Calibration::None,
            cli::Calibrate::Sigmoid => choices::Calibration::Sigmoid,
            cli::Calibrate::Isotonic => choices::Calibration::Isotonic,
        },
        folds: args.folds,
        seed: args.seed,
        output_dir: args.output_dir.clone(),
        force: args.force,
    };
    let report = classify::train(&context.environment, &job, &mut context.screen())?;
    if context.json {
        output::json(&report);
    } else {
        output::line(report.to_text());
    }
    Ok(())
}

fn run_eval(context: &Context, args: &cli::ClassifyEval) -> Result<()> {
    let data = table::DataChoice {
        label_column: args.label_column.clone().unwrap_or_default(),
        label_map: args.label_map.join(","),
        ..asked(&args.data, &args.rows)
    };
    let outcome = classify::eval(&context.environment, &args.dir, &data, &mut context.screen())?;
    if context.json {
        output::json(&outcome.report);
    } else {
        output::line(outcome.to_text());
    }
    Ok(())
}

fn run_predict(context: &Context, args: &cli::ClassifyPredict) -> Result<()> {
    let data = args.input.as_deref().map(|file| asked(file, &args.rows));
    classify::predict(&context.environment, &args.dir, &args.texts, data.as_ref(), &mut |row| output::json(row), &mut context.screen())
}

fn run_explain(context: &Context, args: &cli::ClassifyExplain) -> Result<()> {
    let explanation = classify::explain(&args.dir, args.text.as_deref(), args.top)?;
    if context.json {
        output::json(&explanation);
    } else {
        output::line(explanation.to_text());
    }
    Ok(())
}

/// Rows as the command line names them.
pub(super) fn data(source: &str, args: &cli::DataArgs) -> table::DataChoice {
    table::DataChoice {
        data: source.to_owned(),
        text_column: args.text_column.clone(),
        filter: args.filter.clone(),
        split: args.split.clone(),
        encoding: args.encoding.clone(),
        limit: args.limit,
        ..Default::default()
    }
}

fn asked(source: &str, args: &cli::AskArgs) -> table::DataChoice {
    table::DataChoice {
        data: source.to_owned(),
        text_column: args.text_column.clone(),
        filter: args.filter.clone(),
        split: args.split.clone(),
        encoding: args.encoding.clone(),
        limit: args.limit,
        ..Default::default()
    }
}

/// Features as the command line names them.
pub(super) fn features(args: &cli::FeatureArgs) -> choices::FeatureChoice {
    choices::FeatureChoice {
        kind: match args.features {
            cli::FeatureKind::Tfidf => choices::FeatureKind::Tfidf,
            cli::FeatureKind::Bow => choices::FeatureKind::Bow,
            cli::FeatureKind::Hashing => choices::FeatureKind::Hashing,
        },
        terms: terms(&args.terms),
    }
}

fn terms(args: &cli::TermArgs) -> choices::TermChoice {
    use stages::vectorize::{Norm, StripAccents, Unit};
    choices::TermChoice {
        analyzer: args.analyzer.map(|a| match a {
            cli::Analyzer::Word => Unit::Word,
            cli::Analyzer::Jieba => Unit::Jieba,
            cli::Analyzer::Han => Unit::Han,
            cli::Analyzer::Char => Unit::Char,
            cli::Analyzer::CharWb => Unit::CharWb,
        }),
        ngram_range: args.ngram_range,
        min_df: args.min_df,
        max_df: args.max_df,
        max_features: args.max_features,
        binary: args.binary,
        sublinear_tf: args.sublinear_tf,
        use_idf: args.use_idf,
        smooth_idf: args.smooth_idf,
        norm: args.norm.map(|n| match n {
            cli::Norm::L1 => Norm::L1,
            cli::Norm::L2 => Norm::L2,
            cli::Norm::None => Norm::None,
        }),
        stop_words: args.stop_words.clone(),
        token_pattern: args.token_pattern.clone(),
        user_dict: args.user_dict.clone(),
        keep_case: args.keep_case,
        strip_accents: args.strip_accents.map(|s| match s {
            cli::StripAccents::Ascii => StripAccents::Ascii,
            cli::StripAccents::Unicode => StripAccents::Unicode,
        }),
        n_features: args.n_features,
        unsigned: args.unsigned,
    }
}

/// The classifier as the command line names it.
pub(super) fn learner(args: &cli::LearnerArgs) -> choices::LearnerChoice {
    choices::LearnerChoice {
        classifier: match args.classifier {
            cli::Classifier::Logistic => choices::Classifier::Logistic,
            cli::Classifier::Svm => choices::Classifier::Svm,
            cli::Classifier::MultinomialNb => choices::Classifier::MultinomialNb,
            cli::Classifier::ComplementNb => choices::Classifier::ComplementNb,
            cli::Classifier::Knn => choices::Classifier::Knn,
        },
        c: args.c,
        alpha: args.alpha,
        neighbors: args.neighbors,
        balanced: args.balanced,
    }
}

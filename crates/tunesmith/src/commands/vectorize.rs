//! `tunesmith vectorize …`

use stages::Result;
use stages::vectorize::{choices, classify, explore, fit, table};

use super::Context;
use crate::cli::vectorize as cli;
use crate::output;

pub fn run(context: &Context, verb: &cli::Vectorize) -> Result<()> {
    match verb {
        cli::Vectorize::Fit(args) => run_fit(context, args),
        cli::Vectorize::Transform(args) => run_transform(context, args),
        cli::Vectorize::Neighbours(args) => run_neighbours(context, args),
        cli::Vectorize::Keywords(args) => run_keywords(context, args),
        cli::Vectorize::Cluster(args) => run_cluster(context, args),
        cli::Vectorize::Classify(cli::Classify::Train(args)) => run_train(context, args),
        cli::Vectorize::Classify(cli::Classify::Eval(args)) => run_eval(context, args),
        cli::Vectorize::Classify(cli::Classify::Predict(args)) => run_predict(context, args),
        cli::Vectorize::Classify(cli::Classify::Explain(args)) => run_explain(context, args),
    }
}

fn run_fit(context: &Context, args: &cli::Fit) -> Result<()> {
    let job = fit::FitJob {
        data: data(&args.data, &args.rows),
        features: features(&args.features),
        output_dir: args.output_dir.clone(),
        force: args.force,
        save_vectors: args.save_vectors.clone(),
    };
    let report = fit::fit(&context.environment, &job, &mut context.screen())?;
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

fn run_neighbours(context: &Context, args: &cli::Neighbours) -> Result<()> {
    let report = explore::neighbours(&args.vectors, &args.words, &args.negative, args.top, args.export.as_deref())?;
    if context.json {
        output::json(&report);
    } else {
        output::line(report.to_text());
    }
    Ok(())
}

fn run_keywords(context: &Context, args: &cli::Keywords) -> Result<()> {
    let data = data(&args.data, &args.rows);
    let group_by = args.group_by.as_deref();
    let rows = explore::keywords(&context.environment, &data, &features(&args.features), group_by, args.top, &mut context.screen())?;
    for row in &rows {
        if context.json {
            output::json(row);
        } else {
            output::line(row.to_text());
        }
    }
    Ok(())
}

fn run_cluster(context: &Context, args: &cli::Cluster) -> Result<()> {
    let job = explore::ClusterJob {
        data: data(&args.data, &args.rows),
        features: features(&args.features),
        k: args.k,
        starts: args.starts,
        seed: args.seed,
        top: args.top,
        output: args.output.clone(),
    };
    let report = explore::cluster(&context.environment, &job, &mut context.screen())?;
    if context.json {
        output::json(&report);
    } else {
        output::line(report.to_text());
    }
    Ok(())
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
    let explanation = classify::explain(&context.environment, &args.dir, args.text.as_deref(), args.top, &mut context.screen())?;
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
            cli::FeatureKind::Word2vec => choices::FeatureKind::Word2vec,
            cli::FeatureKind::Doc2vec => choices::FeatureKind::Doc2vec,
            cli::FeatureKind::NgramWord2vec => choices::FeatureKind::NgramWord2vec,
            cli::FeatureKind::Lm => choices::FeatureKind::Model,
            cli::FeatureKind::TfidfLm => choices::FeatureKind::TfidfModel,
        },
        terms: terms(&args.terms),
        vectors: vectors(&args.vectors),
        model: model(&args.model),
    }
}

fn model(args: &cli::ModelArgs) -> stages::vectorize::ModelChoice {
    use stages::vectorize::StatePooling;
    stages::vectorize::ModelChoice {
        model: args.model.clone(),
        prompt: args.lm_prompt.clone(),
        pooling: args.lm_pooling.map(|pooling| match pooling {
            cli::LmPooling::Mean => StatePooling::Mean,
            cli::LmPooling::Last => StatePooling::Last,
        }),
        layer: args.lm_layer,
        max_tokens: args.lm_max_tokens,
    }
}

fn vectors(args: &cli::VectorArgs) -> choices::VectorChoice {
    use stages::vectorize::{Architecture, Pooling};
    choices::VectorChoice {
        architecture: Some(if args.skip_gram { Architecture::Skipgram } else { Architecture::Cbow }),
        dm: args.dm,
        vector_size: args.vector_size,
        window: args.window,
        min_count: args.min_count,
        negative: args.negative,
        sample: args.sample,
        epochs: args.epochs,
        alpha: args.learning_rate,
        workers: args.workers,
        pooling: match args.pooling {
            cli::Pooling::Mean => Pooling::Mean,
            cli::Pooling::Tfidf => Pooling::Tfidf,
        },
        file: args.vectors.clone(),
        seed: args.vector_seed,
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

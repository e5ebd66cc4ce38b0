//! The binary: what can be typed (`cli`), how it looks (`screen`, `output`), and one file a verb (`commands`). What is done stands in
//! the `stages` crate; nothing here knows a model.

mod cli;
mod commands;
mod output;
mod screen;
mod stop;
mod terminal;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Data, Verb};
use crate::commands::Context;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let context = match Context::new(&cli.global) {
        Ok(context) => context,
        Err(e) => return output::fail(&e),
    };
    let outcome = match &cli.verb {
        Verb::Pull(args) => commands::pull::run(&context, args),
        Verb::Init(args) => commands::init::run(&context, args),
        Verb::Data(Data::Preview(args)) => commands::preview::run(&context, args),
        Verb::Docs(verb) => commands::docs::run(&context, verb),
        Verb::Label(verb) => commands::label::run(&context, verb),
        Verb::Plan(args) => commands::plan::run(&context, args),
        Verb::Train(args) => commands::train::run(&context, args),
        Verb::Eval(args) => commands::eval::run(&context, args),
        Verb::Predict(args) => commands::predict::run(&context, args),
        Verb::Chat(args) => commands::chat::run(&context, args),
        Verb::Merge(args) => commands::merge::run(&context, args),
        Verb::Vectorize(verb) => commands::vectorize::run(&context, verb),
        Verb::Doctor => commands::doctor::run(&context),
        Verb::Bench(args) => commands::bench::run(&context, args),
        Verb::Schema => commands::schema::run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => output::fail(&e),
    }
}

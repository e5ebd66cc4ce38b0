//! `tunesmith docs …`

use std::io::IsTerminal;

use stages::Result;
use stages::docs::{chunks, ingest, list, preview, remove, show};

use super::Context;
use crate::cli::docs::{Docs, Format};
use crate::output;

pub fn run(context: &Context, verb: &Docs) -> Result<()> {
    match verb {
        Docs::Ingest(args) => {
            let job = ingest::Job {
                paths: args.paths.clone(),
                store: args.store.clone(),
                encoding: args.encoding.clone(),
                passwords: args.passwords.clone(),
                ocr: !args.no_ocr,
                ocr_language: args.ocr_language.clone(),
                again: args.again,
            };
            let report = ingest::run(&job, &mut context.screen())?;
            show_report(context, &report, ingest::Report::to_text);
            report.verdict()
        }
        Docs::List(args) => {
            show_report(context, &list::run(&args.store)?, list::Listing::to_text);
            Ok(())
        }
        Docs::Show(args) => {
            let format = match args.format {
                _ if context.json => show::Format::Json,
                Format::Text => show::Format::Text,
                Format::Markdown => show::Format::Markdown,
                Format::Json => show::Format::Json,
            };
            output::line(show::run(&args.store, &args.file, format, args.page)?);
            Ok(())
        }
        Docs::Chunks(args) => {
            let job =
                chunks::Job { store: args.store.clone(), cutting: args.cutting.chosen().unwrap_or_default(), output: args.output.clone() };
            show_report(context, &chunks::run(&context.environment, &job, &mut context.screen())?, chunks::Report::to_text);
            Ok(())
        }
        Docs::Preview(args) => {
            let job = preview::Job { store: args.store.clone(), names: args.files.clone(), clean: args.clean.clone(), show: args.show };
            let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            show_report(context, &preview::run(&job, &mut context.screen())?, |r: &preview::Report| r.to_text(colour));
            Ok(())
        }
        Docs::Rm(args) => {
            let job = remove::Job { store: args.store.clone(), names: args.files.clone(), runs: args.runs.clone(), dry_run: args.dry_run };
            show_report(context, &remove::run(&job)?, remove::Taint::to_text);
            Ok(())
        }
    }
}

fn show_report<R: serde::Serialize>(context: &Context, report: &R, text: impl Fn(&R) -> String) {
    if context.json {
        output::json(report);
    } else {
        output::line(text(report));
    }
}

//! `tunesmith init DATA`

use stages::Result;
use stages::human::plural;

use super::{Context, program, shown};
use crate::cli::Init;
use crate::output;

pub fn run(context: &Context, args: &Init) -> Result<()> {
    let report = stages::init::run(&args.data, args.output.as_deref(), args.force)?;
    if context.json {
        output::json(&report);
        return Ok(());
    }
    output::line(format_args!("{}: {}, shape {}", shown(&args.data), plural(report.rows, "row"), report.shape));
    for (label, count) in &report.labels {
        output::line(format_args!("  label {label}: {}", plural(*count, "row")));
    }
    let recipe = shown(&report.recipe);
    output::line(format_args!("wrote {recipe}\nnext:\n  {0} data preview {recipe}\n  {0} train {recipe}", program()));
    Ok(())
}

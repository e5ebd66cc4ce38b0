//! `tunesmith doctor`

use stages::Result;

use super::Context;
use crate::output;

pub fn run(context: &Context) -> Result<()> {
    let report = stages::doctor::run(&context.environment);
    if context.json {
        output::json(&report);
    } else {
        output::line(report.to_text());
    }
    Ok(())
}

//! `tunesmith pull SOURCE…`

use stages::Result;

use super::Context;
use crate::cli::Pull;
use crate::output;

pub fn run(context: &Context, args: &Pull) -> Result<()> {
    let mut screen = context.screen();
    for source in &args.sources {
        let pulled = stages::pull::run(&context.environment, source, args.split.as_deref(), &mut screen)?;
        if context.json {
            output::json(&pulled);
        } else {
            output::line(format_args!(
                "{}\n  {}\n  sha256 {}, {}",
                pulled.source,
                pulled.path,
                pulled.sha256,
                stages::human::bytes(pulled.bytes)
            ));
        }
    }
    Ok(())
}

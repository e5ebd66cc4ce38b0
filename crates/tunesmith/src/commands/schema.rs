//! `tunesmith schema`

use stages::{Result, StageError};

use crate::output;

pub fn run() -> Result<()> {
    let text = serde_json::to_string_pretty(&stages::json_schema());
    output::line(text.map_err(|e| StageError::Work { message: format!("the schema cannot be written: {e}"), help: None })?);
    Ok(())
}

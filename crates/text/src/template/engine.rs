//! The `minijinja` environment that a Hugging Face chat template expects.

use std::error::Error as _;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, Error, ErrorKind, Value};
use serde_json::Map;

use super::{LocalTime, Rendered, filters, generation, methods, python};
use crate::error::{Result, TextError};

/// The one template's name in its environment; no file suffix, hence no HTML escaping.
const NAME: &str = "chat_template";

/// An environment with one template.
pub(super) struct Engine {
    environment: Environment<'static>,
    marks_generation: bool,
}

/// What `raise_exception` was given; travels as the source of the engine's error.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Raised(String);

impl Engine {
    pub(super) fn new(source: &str) -> Result<Self> {
        let mut environment = Environment::new();
        // As transformers: a block tag on its own line leaves no trace.
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().map_err(syntax_error)?;
        environment.set_syntax(syntax);
        environment.set_debug(false);
        minijinja_contrib::add_to_environment(&mut environment);
        environment.set_formatter(|out, _, value| python::write_str(out, value));
        environment.set_unknown_method_callback(methods::call);
        filters::add(&mut environment);
        environment.add_filter(generation::FILTER, generation::mark);
        environment.add_function("raise_exception", |message: Value| -> std::result::Result<Value, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, "raise_exception").with_source(Raised(python::str(&message)?)))
        });
        let rewritten = generation::rewrite(source);
        let marks_generation = rewritten.is_some();
        // Jinja2 reads every line end as "\n".
        let source = rewritten.unwrap_or_else(|| source.to_owned()).replace("\r\n", "\n").replace('\r', "\n");
        environment.add_template_owned(NAME, source).map_err(syntax_error)?;
        Ok(Engine { environment, marks_generation })
    }

    pub(super) fn set_clock(&mut self, now: LocalTime) {
        self.environment.add_function("strftime_now", move |format: String| now.format(&format));
    }

    pub(super) fn marks_generation(&self) -> bool {
        self.marks_generation
    }

    pub(super) fn render(&self, variables: &Map<String, serde_json::Value>) -> Result<Rendered> {
        let template = self.environment.get_template(NAME).map_err(render_error)?;
        if !self.marks_generation {
            let text = template.render(Value::from(Serde(variables))).map_err(render_error)?;
            return Ok(Rendered { text, generation_spans: Vec::new() });
        }
        let marks = generation::Marks::absent_from(variables);
        let mut variables = variables.clone();
        marks.announce(&mut variables);
        let marked = template.render(Value::from(Serde(&variables))).map_err(render_error)?;
        let (text, generation_spans) = marks.take_out(&marked);
        Ok(Rendered { text, generation_spans })
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("marks_generation", &self.marks_generation).finish_non_exhaustive()
    }
}

fn syntax_error(error: Error) -> TextError {
    TextError::TemplateSyntax { line: error.line(), reason: reason(&error) }
}

fn render_error(error: Error) -> TextError {
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(Raised(message)) = inner.downcast_ref() {
            return TextError::TemplateRaised(message.clone());
        }
        source = inner.source();
    }
    let mut reason = reason(&error);
    if error.kind() == ErrorKind::UnknownFunction && reason.contains("strftime_now") {
        reason = "it asks for today's date (strftime_now), and no date was given to it".into();
    }
    TextError::TemplateRender { line: error.line(), reason }
}

/// The engine's reason without the place, which the caller adds.
fn reason(error: &Error) -> String {
    let kind = error.kind().to_string();
    match error.detail() {
        Some(detail) => format!("{kind}: {detail}"),
        None => kind,
    }
}

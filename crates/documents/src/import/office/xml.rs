//! XML as a walk over elements. Owns the library `quick-xml`.

use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event as Raw};

/// What the walk meets. Names are without their prefix.
pub(super) enum Event<'a> {
    /// An element begins.
    Open(&'a str, Attributes<'a>),
    /// Text, references resolved.
    Text(&'a str),
    /// An element ends.
    Close(&'a str),
}

/// Attributes of an element.
pub(super) struct Attributes<'a>(&'a BytesStart<'a>);

impl Attributes<'_> {
    /// The value of an attribute, by its name without prefix.
    pub(super) fn get(&self, name: &str) -> Option<String> {
        self.0
            .attributes()
            .with_checks(false)
            .flatten()
            .find(|a| local(a.key.as_ref()) == name)
            .and_then(|a| a.normalized_value(XmlVersion::Implicit1_0).ok().map(|v| v.into_owned()))
    }
}

/// Deepest nesting that is followed.
const DEPTH: usize = 400;

/// Walks over a document. An error says where it is no XML; what came before it was told.
pub(super) fn walk(text: &str, each: &mut dyn FnMut(Event<'_>)) -> Result<(), String> {
    let mut reader = quick_xml::Reader::from_str(text);
    reader.config_mut().check_end_names = false;
    reader.config_mut().allow_unmatched_ends = true;
    let mut depth = 0usize;
    loop {
        let at = reader.buffer_position();
        match reader.read_event().map_err(|e| format!("damaged: no XML at byte {at}: {e}"))? {
            Raw::Eof => return Ok(()),
            Raw::Start(e) => {
                depth += 1;
                if depth > DEPTH {
                    return Err(format!("damaged: elements nest deeper than {DEPTH} at byte {at}"));
                }
                each(Event::Open(local(e.name().as_ref()), Attributes(&e)));
            }
            Raw::Empty(e) => {
                let name = e.name();
                let name = local(name.as_ref());
                each(Event::Open(name, Attributes(&e)));
                each(Event::Close(name));
            }
            Raw::End(e) => {
                depth = depth.saturating_sub(1);
                each(Event::Close(local(e.name().as_ref())));
            }
            Raw::Text(e) => each(Event::Text(&e.xml_content(XmlVersion::Implicit1_0))),
            Raw::CData(e) => each(Event::Text(&e.xml_content(XmlVersion::Implicit1_0))),
            Raw::GeneralRef(e) => {
                let c = e.resolve_char_ref().ok().flatten().or_else(|| {
                    let name = e.xml_content(XmlVersion::Implicit1_0);
                    [("amp", '&'), ("lt", '<'), ("gt", '>'), ("quot", '"'), ("apos", '\'')]
                        .iter()
                        .find(|(n, _)| *n == name)
                        .map(|(_, c)| *c)
                });
                if let Some(c) = c {
                    each(Event::Text(c.encode_utf8(&mut [0; 4])));
                }
            }
            // Entities of a DTD are not expanded: nothing in these formats uses them but attacks.
            Raw::Comment(_) | Raw::Decl(_) | Raw::PI(_) | Raw::DocType(_) => {}
        }
    }
}

fn local<T: AsRef<[u8]> + ?Sized>(name: &T) -> &str {
    let name = std::str::from_utf8(name.as_ref()).unwrap_or("");
    name.rsplit(':').next().unwrap_or(name)
}

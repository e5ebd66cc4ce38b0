//! Office Open XML: zip archives of XML. Owns the library `zip`, and `quick-xml` in [`xml`].

use std::io::{Cursor, Read};

pub mod docx;
pub mod xlsx;
mod xml;

/// Largest part of an archive that is unpacked: a bomb ends here.
const MAX_PART: u64 = 256 << 20;
/// All parts of a file together.
const MAX_ALL: u64 = 1 << 30;

/// An archive whose parts are unpacked within bounds.
pub(super) struct Archive<'b> {
    zip: zip::ZipArchive<Cursor<&'b [u8]>>,
    unpacked: u64,
}

impl<'b> Archive<'b> {
    /// Opens an archive.
    pub(super) fn open(bytes: &'b [u8]) -> Result<Self, String> {
        // What Office encrypts is a compound file, not an archive.
        if bytes.starts_with(&[0xD0, 0xCF, 0x11, 0xE0]) {
            return Err("it is encrypted, or in the old binary format: save it as .docx or .xlsx without a password".into());
        }
        let zip = zip::ZipArchive::new(Cursor::new(bytes)).map_err(|e| format!("damaged: its archive cannot be opened ({e})"))?;
        Ok(Archive { zip, unpacked: 0 })
    }

    /// Whether a part is there.
    pub(super) fn has(&self, name: &str) -> bool {
        self.zip.index_for_name(name).is_some()
    }

    /// A part as text; `None` where there is none.
    pub(super) fn part(&mut self, name: &str) -> Result<Option<String>, String> {
        if !self.has(name) {
            return Ok(None);
        }
        let file = self.zip.by_name(name).map_err(|e| format!("damaged: {name} cannot be opened ({e})"))?;
        let mut bytes = Vec::new();
        file.take(MAX_PART + 1).read_to_end(&mut bytes).map_err(|e| format!("damaged: {name} cannot be unpacked ({e})"))?;
        self.unpacked += bytes.len() as u64;
        if bytes.len() as u64 > MAX_PART || self.unpacked > MAX_ALL {
            return Err(format!("{name} unpacks to more than {} MB; no document needs that, so it is not read", MAX_PART >> 20));
        }
        Ok(Some(match super::decode::decode(&bytes, super::decode::html_charset(&bytes).as_deref(), false) {
            Ok(decoded) => decoded.text,
            Err(reason) => return Err(format!("damaged: {name}: {reason}")),
        }))
    }

    /// Targets of a part's relationships by id.
    pub(super) fn relations(&mut self, name: &str) -> Result<std::collections::BTreeMap<String, String>, String> {
        let mut out = std::collections::BTreeMap::new();
        if let Some(text) = self.part(name)? {
            xml::walk(&text, &mut |event| {
                if let xml::Event::Open("Relationship", attributes) = event
                    && let (Some(id), Some(target)) = (attributes.get("Id"), attributes.get("Target"))
                {
                    out.insert(id, target);
                }
            })?;
        }
        Ok(out)
    }
}

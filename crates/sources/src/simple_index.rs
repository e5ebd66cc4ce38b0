//! Pages of a package index: PEP 503's HTML, PEP 691's JSON, and the plain pages that `--find-links` may point at.

use serde::Deserialize;

use crate::hash::Checksum;
use crate::urls::{Url, percent_decode, split_fragment};

/// What to ask for, the better form first (PEP 691).
pub(crate) const ACCEPT: &str = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1";

/// A file that the index offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub url: Url,
    pub filename: String,
    pub checksum: Option<Checksum>,
    pub size: Option<u64>,
    /// Withdrawn by its maintainer, with the reason given (PEP 592).
    pub yanked: Option<String>,
}

/// Reads a page; `page` is the address that it came from.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn parse(page: &Url, content_type: &str, text: &str) -> Result<Vec<Link>, String> {
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let links =
        if kind.ends_with("json") || kind.is_empty() && text.trim_start().starts_with('{') { json(page, text)? } else { html(page, text) };
    // pip sends an index's credentials along to files of the same host.
    Ok(links.into_iter().map(|link| with_credentials(page, link)).collect())
}

fn with_credentials(page: &Url, mut link: Link) -> Link {
    if link.url.userinfo.is_none() && link.url.same_origin(page) {
        link.url.userinfo = page.userinfo.clone();
    }
    link
}

#[derive(Deserialize)]
struct Page {
    files: Vec<File>,
}

#[derive(Deserialize)]
struct File {
    filename: String,
    url: String,
    #[serde(default)]
    hashes: std::collections::BTreeMap<String, String>,
    size: Option<u64>,
    #[serde(default)]
    yanked: serde_json::Value,
}

fn json(page: &Url, text: &str) -> Result<Vec<Link>, String> {
    let read: Page = serde_json::from_str(text).map_err(|e| format!("not an index's JSON (PEP 691): {e}"))?;
    let link = |file: File| {
        let strongest = ["sha256", "sha512", "sha384"];
        let checksum = strongest.iter().find_map(|name| Checksum::from_name(name, file.hashes.get(*name)?));
        let yanked = match file.yanked {
            serde_json::Value::Bool(true) => Some(String::new()),
            serde_json::Value::String(reason) => Some(reason),
            _ => None,
        };
        Some(Link { url: page.join(&file.url)?, filename: file.filename, checksum, size: file.size, yanked })
    };
    Ok(read.files.into_iter().filter_map(link).collect())
}

/// Every `<a href>`; nothing else of HTML matters here.
fn html(page: &Url, text: &str) -> Vec<Link> {
    let mut base = page.clone();
    let mut links = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        if let Some(comment) = rest.strip_prefix("!--") {
            rest = comment.find("-->").map_or("", |end| &comment[end + 3..]);
            continue;
        }
        let Some((name, attributes, after)) = tag(rest) else { continue };
        rest = after;
        let value = |key: &str| attributes.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str());
        match (name.as_str(), value("href")) {
            ("base", Some(href)) => base = page.join(href).unwrap_or(base),
            ("a", Some(href)) => {
                let (address, fragment) = split_fragment(href);
                let Some(url) = base.join(address) else { continue };
                let Some(filename) = url.file_name() else { continue };
                let hash = fragment.and_then(|f| f.split('&').find_map(|part| part.split_once('=').filter(|(k, _)| k.starts_with("sha"))));
                let checksum = hash.and_then(|(name, digest)| Checksum::from_name(name, &percent_decode(digest)));
                let yanked = value("data-yanked").map(str::to_owned);
                links.push(Link { url, filename, checksum, size: None, yanked });
            }
            _ => {}
        }
    }
    links
}

/// Lower-case names with decoded values, in the order written.
type Attributes = Vec<(String, String)>;

/// Reads a tag after its `<`: lower-case name, attributes with decoded values, and what follows the `>`.
fn tag(text: &str) -> Option<(String, Attributes, &str)> {
    let name_end = text.find(|c: char| c.is_whitespace() || c == '>' || c == '/').unwrap_or(text.len());
    let name = text[..name_end].to_ascii_lowercase();
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    let mut attributes = Vec::new();
    let mut rest = &text[name_end..];
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '/');
        if let Some(after) = rest.strip_prefix('>') {
            return Some((name, attributes, after));
        }
        if rest.is_empty() {
            return None;
        }
        let key_end = rest.find(|c: char| c.is_whitespace() || "=>/".contains(c)).unwrap_or(rest.len());
        let key = rest[..key_end].to_ascii_lowercase();
        rest = rest[key_end..].trim_start();
        let mut value = "";
        if let Some(after) = rest.strip_prefix('=') {
            let after = after.trim_start();
            let quote = after.chars().next().filter(|c| *c == '"' || *c == '\'');
            (value, rest) = match quote {
                Some(quote) => after[1..].split_once(quote)?,
                None => after.split_at(after.find(|c: char| c.is_whitespace() || c == '>').unwrap_or(after.len())),
            };
        } else if key.is_empty() {
            // Neither name nor value: skip the character, or this would not end.
            rest = rest.strip_prefix(|_: char| true).unwrap_or_default();
            continue;
        }
        attributes.push((key, entities(value)));
    }
}

/// Decodes character references: numbers, and the few names that addresses need.
fn entities(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let reference = rest.find(';').filter(|end| *end <= 10).and_then(|end| Some((decode(&rest[1..end])?, end)));
        match reference {
            Some((c, end)) => {
                out.push(c);
                rest = &rest[end + 1..];
            }
            None => {
                out.push('&');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

fn decode(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SHA: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn page() -> Url {
        Url::parse("https://us:pw@index.example/simple/pkg/").unwrap()
    }

    #[test]
    fn html_pages() {
        let text = format!(
            "<!DOCTYPE html><html><head><base href='https://files.example/x/'></head><body><!-- <a href='no.whl'>no</a> -->\n\
             <A data-requires-python=\"&gt;=3.8\" HREF = \"../a-1.0-py3-none-any.whl?k=1&amp;l=2#sha256={SHA}\">a</A><br/>\n\
             <a href=https://index.example/b%2Bcpu-1.whl data-yanked='broken &#39;x&#x27;'>b</a> <a name=x>none</a> 1 < 2 <a href='dir/'>d</a></body>"
        );
        let links = parse(&page(), "text/html; charset=utf-8", &text).unwrap();
        assert_eq!(links.len(), 2);
        assert_eq!(links[0].url.without_userinfo(), "https://files.example/a-1.0-py3-none-any.whl?k=1&l=2");
        assert_eq!(links[0].url.userinfo, None, "credentials stay with their host");
        assert_eq!((links[0].filename.as_str(), &links[0].checksum), ("a-1.0-py3-none-any.whl", &Some(Checksum::Sha256(SHA.into()))));
        assert_eq!(links[1].url.userinfo.as_deref(), Some("us:pw"));
        assert_eq!((links[1].filename.as_str(), links[1].yanked.as_deref()), ("b+cpu-1.whl", Some("broken 'x'")));
    }

    #[test]
    fn json_pages() {
        let text = format!(
            r#"{{"meta":{{"api-version":"1.1"}},"name":"pkg","files":[
                {{"filename":"a-1.0-py3-none-any.whl","url":"../../f/a-1.0-py3-none-any.whl","hashes":{{"md5":"0","sha256":"{SHA}"}},"size":12,"yanked":false}},
                {{"filename":"b.whl","url":"https://o.example/b.whl","hashes":{{}},"yanked":"why"}},
                {{"filename":"c.whl","url":"c.whl","hashes":{{"md5":"900150983cd24fb0d6963f7d28e17f72"}},"yanked":true}}]}}"#
        );
        let links = parse(&page(), "application/vnd.pypi.simple.v1+json", &text).unwrap();
        assert_eq!(links[0].url.without_userinfo(), "https://index.example/f/a-1.0-py3-none-any.whl");
        assert_eq!((links[0].size, &links[0].checksum), (Some(12), &Some(Checksum::Sha256(SHA.into()))));
        assert_eq!((links[1].yanked.as_deref(), links[2].yanked.as_deref(), links[0].yanked.as_deref()), (Some("why"), Some(""), None));
        assert_eq!(links[2].checksum, None);
        assert!(parse(&page(), "application/json", "<html>").is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in r#"(<|>|a|A| |/|=|'|"|href|base|&|#|;|x|1|!--|-->|é|\n){0,60}"#) {
            parse(&page(), "text/html", &text).unwrap();
        }

        #[test]
        fn any_address_survives_escaping(name in "[a-z0-9&<>\"' é]{1,20}") {
            let escaped = name.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;").replace('>', "&#62;");
            let links = parse(&page(), "text/html", &format!("<a href=\"https://h.example/{escaped}/x.whl\">x</a>")).unwrap();
            prop_assert_eq!(links[0].url.path.as_str(), format!("/{name}/x.whl"));
        }
    }
}

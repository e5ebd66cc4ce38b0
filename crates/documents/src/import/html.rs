//! HTML as it is found: a forgiving tokenizer, no tree. Scripts, styles and comments are passed over, block elements part blocks, tables become
//! Markdown, links keep their target.

use crate::block::{Block, BlockKind, Link};
use crate::table;

/// Elements that begin a new block.
const BLOCKS: &[&str] = &[
    "address",
    "article",
    "aside",
    "blockquote",
    "body",
    "center",
    "dd",
    "details",
    "dialog",
    "div",
    "dl",
    "dt",
    "fieldset",
    "figcaption",
    "figure",
    "footer",
    "form",
    "header",
    "hr",
    "html",
    "main",
    "nav",
    "ol",
    "p",
    "section",
    "summary",
    "ul",
];

/// Elements whose content is no text.
const SKIPPED: &[&str] = &["script", "style", "template", "noscript", "head", "svg", "math", "select", "iframe", "object"];

/// Deepest list that is told apart.
const MAX_LISTS: usize = 64;

/// Blocks of an HTML text.
pub fn blocks(html: &str) -> Vec<Block> {
    let mut builder = Builder::default();
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        builder.text(&rest[..at]);
        rest = &rest[at..];
        if let Some(body) = rest.strip_prefix("<!--") {
            rest = body.find("-->").map_or("", |end| &body[end + 3..]);
            continue;
        }
        if let Some(body) = rest.strip_prefix("<![CDATA[") {
            let end = body.find("]]>").unwrap_or(body.len());
            builder.chars(&body[..end]);
            rest = body.get(end + 3..).unwrap_or("");
            continue;
        }
        match tag(rest) {
            Some((tag, length)) => {
                rest = &rest[length..];
                let skipped = !tag.closing && !tag.empty && SKIPPED.contains(&tag.name.as_str());
                if skipped {
                    rest = skip(rest, &tag.name);
                } else {
                    builder.tag(&tag);
                }
            }
            None => {
                builder.chars("<");
                rest = &rest[1..];
            }
        }
    }
    builder.text(rest);
    builder.flush();
    builder.blocks
}

/// What follows the end tag of an element without text. The title inside a head is looked for no further: it is not on the page.
fn skip<'a>(rest: &'a str, name: &str) -> &'a str {
    let lower = rest.as_bytes();
    let mut from = 0;
    while let Some(at) = rest[from..].find("</") {
        let at = from + at + 2;
        let end = at + name.len();
        if lower.get(at..end).is_some_and(|w| w.eq_ignore_ascii_case(name.as_bytes())) {
            return rest[end..].find('>').map_or("", |close| &rest[end + close + 1..]);
        }
        from = at;
    }
    // An end tag that never comes: a head ends at the body, anything else takes nothing with it.
    if name == "head" { rest.find("<body").map_or(rest, |at| &rest[at..]) } else { rest }
}

struct Tag {
    name: String,
    closing: bool,
    empty: bool,
    href: Option<String>,
}

/// The tag at the start of `rest` and its length in bytes; `None` if this `<` is just a character.
fn tag(rest: &str) -> Option<(Tag, usize)> {
    let bytes = rest.as_bytes();
    let closing = bytes.get(1) == Some(&b'/');
    let start = if closing { 2 } else { 1 };
    let first = *bytes.get(start)?;
    if !(first.is_ascii_alphabetic() || first == b'!' || first == b'?') {
        return None;
    }
    let (mut i, mut quote) = (start, None);
    while i < bytes.len() {
        match (quote, bytes[i]) {
            (Some(q), b) if b == q => quote = None,
            (Some(_), _) => {}
            (None, b @ (b'"' | b'\'')) if bytes[i - 1] == b'=' || bytes[i - 1] == b' ' => quote = Some(b),
            (None, b'>') => break,
            _ => {}
        }
        i += 1;
    }
    // A quote that never closes swallows no page: the tag ends at the next `>`.
    let end = if i < bytes.len() { i } else { rest.find('>')? };
    let body = &rest[start..end];
    let name: String = body.chars().take_while(|c| !c.is_whitespace() && *c != '/').collect::<String>().to_ascii_lowercase();
    let href = (name == "a" && !closing).then(|| attribute(body, "href")).flatten();
    Some((Tag { name, closing, empty: body.ends_with('/'), href }, end + 1))
}

fn attribute(body: &str, name: &str) -> Option<String> {
    let lower = body.to_ascii_lowercase();
    let at = lower.find(&format!("{name}="))? + name.len() + 1;
    let value = body[at..].trim_start();
    let value = match value.chars().next()? {
        q @ ('"' | '\'') => value[1..].split(q).next()?,
        _ => value.split(|c: char| c.is_whitespace()).next()?,
    };
    let value = entities(value);
    (!value.is_empty() && !value.starts_with('#') && !value.to_ascii_lowercase().starts_with("javascript:")).then_some(value)
}

#[derive(Default)]
struct Table {
    rows: Vec<Vec<String>>,
    in_cell: bool,
}

#[derive(Default)]
struct Builder {
    blocks: Vec<Block>,
    text: String,
    chars: usize,
    space: bool,
    kind: Option<BlockKind>,
    pre: usize,
    lists: Vec<Option<usize>>,
    links: Vec<Link>,
    open_link: Option<(usize, String)>,
    tables: Vec<Table>,
}

impl Builder {
    fn text(&mut self, raw: &str) {
        if raw.contains('&') { self.chars(&entities(raw)) } else { self.chars(raw) }
    }

    fn chars(&mut self, text: &str) {
        if let Some(table) = self.tables.last_mut() {
            if let Some(cell) = table.rows.last_mut().filter(|_| table.in_cell).and_then(|row| row.last_mut()) {
                cell.push_str(text);
            }
            return;
        }
        for c in text.chars() {
            if self.pre > 0 {
                self.push(c);
            } else if matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{0C}' | '\u{A0}') {
                self.space = true;
            } else {
                if std::mem::take(&mut self.space) && !self.text.is_empty() && !self.text.ends_with(['\n', ' ']) {
                    self.push(' ');
                }
                self.push(c);
            }
        }
    }

    fn push(&mut self, c: char) {
        self.text.push(c);
        self.chars += 1;
    }

    fn flush(&mut self) {
        self.close_link();
        let kind = self.kind.take().unwrap_or(BlockKind::Paragraph);
        let trimmed = self.text.trim_end_matches([' ', '\n']);
        let text = if kind == BlockKind::Code { trimmed.trim_start_matches('\n').to_owned() } else { trimmed.to_owned() };
        let links = std::mem::take(&mut self.links);
        self.text.clear();
        (self.chars, self.space) = (0, false);
        let bare = kind == BlockKind::Item
            && text
                .trim_start_matches(['-', '.', ' '])
                .trim_start_matches(|c: char| c.is_ascii_digit())
                .trim_matches(['.', ' '])
                .is_empty();
        if !text.trim().is_empty() && !bare {
            let length = text.chars().count();
            let mut block = Block::plain(kind, text, 1);
            // Trailing spaces are gone, and with them the ends of links that held them.
            let cut = links.into_iter().map(|l| Link { end: l.end.min(length), ..l }).filter(|l| l.start < l.end);
            block.links = if kind == BlockKind::Code { Vec::new() } else { cut.collect() };
            self.blocks.push(block);
        }
    }

    fn close_link(&mut self) {
        if let Some((start, uri)) = self.open_link.take()
            && start < self.chars
        {
            self.links.push(Link { start, end: self.chars, uri });
        }
    }

    fn tag(&mut self, tag: &Tag) {
        let open = !tag.closing;
        match tag.name.as_str() {
            "table" if open => {
                if self.tables.is_empty() {
                    self.flush();
                }
                self.tables.push(Table::default());
            }
            "table" => self.end_table(),
            "tr" | "td" | "th" if !self.tables.is_empty() => self.cell(tag),
            _ if !self.tables.is_empty() => self.chars(" "),
            "a" => {
                self.close_link();
                if let (true, Some(uri)) = (open, &tag.href) {
                    if self.space && !self.text.is_empty() {
                        self.space = false;
                        self.push(' ');
                    }
                    self.open_link = Some((self.chars, uri.clone()));
                }
            }
            "br" => {
                self.space = false;
                if !self.text.is_empty() {
                    self.push('\n');
                }
            }
            "pre" => {
                self.flush();
                self.pre = if open { self.pre + 1 } else { self.pre.saturating_sub(1) };
                self.kind = (self.pre > 0).then_some(BlockKind::Code);
            }
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => {
                self.flush();
                self.kind = open.then(|| BlockKind::Heading(tag.name.as_bytes()[1] - b'0'));
            }
            "li" => {
                self.flush();
                if open {
                    self.kind = Some(BlockKind::Item);
                    let marker = match self.lists.last_mut() {
                        Some(Some(n)) => {
                            *n += 1;
                            format!("{n}. ")
                        }
                        _ => "- ".to_owned(),
                    };
                    marker.chars().for_each(|c| self.push(c));
                }
            }
            name @ ("ul" | "ol") => {
                self.flush();
                if open && self.lists.len() < MAX_LISTS {
                    self.lists.push((name == "ol").then_some(0));
                } else if !open {
                    self.lists.pop();
                }
            }
            // Inside an entry, a paragraph is the entry's.
            "p" | "div" if open && self.kind == Some(BlockKind::Item) => self.space = true,
            name if BLOCKS.contains(&name) => self.flush(),
            _ => {}
        }
    }

    fn cell(&mut self, tag: &Tag) {
        let Some(table) = self.tables.last_mut() else { return };
        match (tag.name.as_str(), tag.closing) {
            ("tr", false) => {
                table.rows.push(Vec::new());
                table.in_cell = false;
            }
            ("td" | "th", false) => {
                if table.rows.is_empty() {
                    table.rows.push(Vec::new());
                }
                if let Some(row) = table.rows.last_mut() {
                    row.push(String::new());
                }
                table.in_cell = true;
            }
            _ => table.in_cell = false,
        }
    }

    fn end_table(&mut self) {
        let Some(table) = self.tables.pop() else { return };
        let rows: Vec<Vec<String>> = table.rows.into_iter().filter(|r| r.iter().any(|c| !c.trim().is_empty())).collect();
        if rows.is_empty() {
            return;
        }
        if self.tables.is_empty() {
            // One column is layout, not a table.
            let (kind, text) = match rows.iter().map(Vec::len).max() {
                Some(1) => (
                    BlockKind::Paragraph,
                    rows.iter().map(|r| r[0].split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join("\n"),
                ),
                _ => (BlockKind::Table, table::markdown(&rows)),
            };
            self.blocks.push(Block::plain(kind, text, 1));
        } else {
            // A table in a cell: its text, in order.
            let text = rows.iter().flatten().map(|c| c.trim()).collect::<Vec<_>>().join(" ");
            self.chars(&text);
        }
    }
}

/// Character references; unknown ones stay as they are.
pub fn entities(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let name: String = rest[1..].chars().take(32).take_while(|c| c.is_ascii_alphanumeric() || *c == '#').collect();
        match reference(&name) {
            Some(c) => {
                out.push(c);
                rest = &rest[1 + name.len()..];
                rest = rest.strip_prefix(';').unwrap_or(rest);
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

fn reference(name: &str) -> Option<char> {
    if let Some(number) = name.strip_prefix('#') {
        let code = match number.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16).ok()?,
            None => number.parse().ok()?,
        };
        return char::from_u32(code).filter(|c| *c != '\0');
    }
    ENTITIES.iter().find(|(n, _)| *n == name).map(|(_, c)| *c)
}

/// Names that occur in practice: XML's, Latin 1, punctuation, Greek letters of formulas.
const ENTITIES: &[(&str, char)] = &[
    ("amp", '&'),
    ("lt", '<'),
    ("gt", '>'),
    ("quot", '"'),
    ("apos", '\''),
    ("nbsp", '\u{A0}'),
    ("iexcl", '¡'),
    ("cent", '¢'),
    ("pound", '£'),
    ("curren", '¤'),
    ("yen", '¥'),
    ("brvbar", '¦'),
    ("sect", '§'),
    ("uml", '¨'),
    ("copy", '©'),
    ("ordf", 'ª'),
    ("laquo", '«'),
    ("not", '¬'),
    ("shy", '\u{AD}'),
    ("reg", '®'),
    ("macr", '¯'),
    ("deg", '°'),
    ("plusmn", '±'),
    ("sup2", '²'),
    ("sup3", '³'),
    ("acute", '´'),
    ("micro", 'µ'),
    ("para", '¶'),
    ("middot", '·'),
    ("cedil", '¸'),
    ("sup1", '¹'),
    ("ordm", 'º'),
    ("raquo", '»'),
    ("frac14", '¼'),
    ("frac12", '½'),
    ("frac34", '¾'),
    ("iquest", '¿'),
    ("Agrave", 'À'),
    ("Aacute", 'Á'),
    ("Acirc", 'Â'),
    ("Atilde", 'Ã'),
    ("Auml", 'Ä'),
    ("Aring", 'Å'),
    ("AElig", 'Æ'),
    ("Ccedil", 'Ç'),
    ("Egrave", 'È'),
    ("Eacute", 'É'),
    ("Ecirc", 'Ê'),
    ("Euml", 'Ë'),
    ("Igrave", 'Ì'),
    ("Iacute", 'Í'),
    ("Icirc", 'Î'),
    ("Iuml", 'Ï'),
    ("ETH", 'Ð'),
    ("Ntilde", 'Ñ'),
    ("Ograve", 'Ò'),
    ("Oacute", 'Ó'),
    ("Ocirc", 'Ô'),
    ("Otilde", 'Õ'),
    ("Ouml", 'Ö'),
    ("times", '×'),
    ("Oslash", 'Ø'),
    ("Ugrave", 'Ù'),
    ("Uacute", 'Ú'),
    ("Ucirc", 'Û'),
    ("Uuml", 'Ü'),
    ("Yacute", 'Ý'),
    ("THORN", 'Þ'),
    ("szlig", 'ß'),
    ("agrave", 'à'),
    ("aacute", 'á'),
    ("acirc", 'â'),
    ("atilde", 'ã'),
    ("auml", 'ä'),
    ("aring", 'å'),
    ("aelig", 'æ'),
    ("ccedil", 'ç'),
    ("egrave", 'è'),
    ("eacute", 'é'),
    ("ecirc", 'ê'),
    ("euml", 'ë'),
    ("igrave", 'ì'),
    ("iacute", 'í'),
    ("icirc", 'î'),
    ("iuml", 'ï'),
    ("eth", 'ð'),
    ("ntilde", 'ñ'),
    ("ograve", 'ò'),
    ("oacute", 'ó'),
    ("ocirc", 'ô'),
    ("otilde", 'õ'),
    ("ouml", 'ö'),
    ("divide", '÷'),
    ("oslash", 'ø'),
    ("ugrave", 'ù'),
    ("uacute", 'ú'),
    ("ucirc", 'û'),
    ("uuml", 'ü'),
    ("yacute", 'ý'),
    ("thorn", 'þ'),
    ("yuml", 'ÿ'),
    ("OElig", 'Œ'),
    ("oelig", 'œ'),
    ("Scaron", 'Š'),
    ("scaron", 'š'),
    ("ensp", ' '),
    ("emsp", ' '),
    ("thinsp", ' '),
    ("zwnj", '\u{200C}'),
    ("zwj", '\u{200D}'),
    ("ndash", '–'),
    ("mdash", '—'),
    ("lsquo", '‘'),
    ("rsquo", '’'),
    ("sbquo", '‚'),
    ("ldquo", '“'),
    ("rdquo", '”'),
    ("bdquo", '„'),
    ("dagger", '†'),
    ("Dagger", '‡'),
    ("bull", '•'),
    ("hellip", '…'),
    ("permil", '‰'),
    ("prime", '′'),
    ("Prime", '″'),
    ("lsaquo", '‹'),
    ("rsaquo", '›'),
    ("euro", '€'),
    ("trade", '™'),
    ("larr", '←'),
    ("uarr", '↑'),
    ("rarr", '→'),
    ("darr", '↓'),
    ("harr", '↔'),
    ("minus", '−'),
    ("lowast", '∗'),
    ("radic", '√'),
    ("infin", '∞'),
    ("asymp", '≈'),
    ("ne", '≠'),
    ("equiv", '≡'),
    ("le", '≤'),
    ("ge", '≥'),
    ("sum", '∑'),
    ("prod", '∏'),
    ("part", '∂'),
    ("alpha", 'α'),
    ("beta", 'β'),
    ("gamma", 'γ'),
    ("delta", 'δ'),
    ("epsilon", 'ε'),
    ("theta", 'θ'),
    ("lambda", 'λ'),
    ("mu", 'μ'),
    ("pi", 'π'),
    ("rho", 'ρ'),
    ("sigma", 'σ'),
    ("tau", 'τ'),
    ("phi", 'φ'),
    ("omega", 'ω'),
    ("Delta", 'Δ'),
    ("Omega", 'Ω'),
    ("Sigma", 'Σ'),
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_page_becomes_blocks() {
        let html = "<!DOCTYPE html><html><head><title>t</title><style>p{}</style></head><body><h2>Hea<b>ding</b></h2><p>One &amp; two<br>three \
                    <a href='https://x.org/?a=1&amp;b=2'>link</a>.</p><script>if (a < b) {}</script><ul><li>甲<li><p>乙</p></ul><ol><li>first</li></ol>\
                    <table><tr><th>a<th>b</tr><tr><td>1</td><td>x|y</td></tr></table><pre>a\n  b</pre>tail<!-- no -->";
        let got: Vec<(BlockKind, String)> = blocks(html).into_iter().map(|b| (b.kind, b.text)).collect();
        let want = [
            (BlockKind::Heading(2), "Heading"),
            (BlockKind::Paragraph, "One & two\nthree link."),
            (BlockKind::Item, "- 甲"),
            (BlockKind::Item, "- 乙"),
            (BlockKind::Item, "1. first"),
            (BlockKind::Table, "| a | b |\n| --- | --- |\n| 1 | x\\|y |"),
            (BlockKind::Code, "a\n  b"),
            (BlockKind::Paragraph, "tail"),
        ];
        assert_eq!(got, want.map(|(k, t)| (k, t.to_owned())));
        assert_eq!(blocks(html)[1].links, [Link { start: 16, end: 20, uri: "https://x.org/?a=1&b=2".into() }]);
    }

    #[test]
    fn broken_pages_lose_no_text() {
        for (html, want) in [
            ("a < b > c", "a < b > c"),
            ("<p>x<p>y", "x|y"),
            ("<script>never closed", "never closed"),
            ("<td>loose</td>", "loose"),
            ("<table><tr><td>only</table>", "only"),
            ("&#20013;&#x6587;&bogus;", "中文&bogus;"),
            ("<a href=\"unclosed>text</a>", "text"),
        ] {
            let got: Vec<String> = blocks(html).into_iter().map(|b| b.text).collect();
            assert_eq!(got.join("|"), want, "{html}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(html in "[a-z<>/\"'=&;#!\\- 好]{0,120}", tags in prop::collection::vec("</?(table|td|tr|li|ul|a|p|pre|h1|head)[ >]", 0..12)) {
            let mixed: String = tags.concat() + &html + &tags.concat();
            for block in blocks(&mixed) {
                let length = block.text.chars().count();
                prop_assert!(block.links.iter().all(|l| l.start < l.end && l.end <= length));
            }
        }
    }
}

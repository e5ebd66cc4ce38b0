//! HTML as it is found: a forgiving tokenizer, no tree. Scripts, styles and comments are passed over, block elements part blocks, tables become
//! Markdown, links keep their target.

use crate::block::{Block, BlockKind, Link};
use crate::table;

mod grid;

use grid::Grid;

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
    "hgroup",
    "hr",
    "html",
    "legend",
    "main",
    "menu",
    "nav",
    "ol",
    "p",
    "section",
    "summary",
    "ul",
];

/// Elements whose content is no text.
const SKIPPED: &[&str] = &["script", "style", "template", "noscript", "head", "svg", "math", "select", "iframe", "object"];

/// Elements within a line that do not part words.
const INLINE: &[&str] = &[
    "a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "del", "dfn", "em", "font", "i", "ins", "kbd", "mark", "nobr", "q",
    "rb", "rp", "rt", "ruby", "s", "samp", "small", "span", "strike", "strong", "sub", "sup", "time", "tt", "u", "var", "wbr",
];

/// Elements of forms: beside each other without a space in between, and yet apart.
const FIELDS: &[&str] = &["button", "input", "label", "output", "textarea"];

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
    /// Columns and rows of a cell.
    spans: (usize, usize),
    /// Where a list begins to count (`start`), or an entry goes on (`value`).
    number: Option<usize>,
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
    let href = href.filter(|h| !h.is_empty() && !h.starts_with('#') && !h.to_ascii_lowercase().starts_with("javascript:"));
    let number = |what: &str| attribute(body, what).and_then(|v| v.trim().parse::<usize>().ok());
    let spans = match name.as_str() {
        "td" | "th" if !closing => (number("colspan").unwrap_or(1), number("rowspan").unwrap_or(1)),
        _ => (1, 1),
    };
    let number = match name.as_str() {
        "ol" if !closing => number("start"),
        "li" if !closing => number("value"),
        _ => None,
    };
    Some((Tag { name, closing, empty: body.ends_with('/'), href, spans, number }, end + 1))
}

/// The value of an attribute, its references resolved.
fn attribute(body: &str, name: &str) -> Option<String> {
    let blank = |c: char| c.is_whitespace() || c == '/';
    let mut rest = body.trim_start_matches(|c: char| !blank(c)).trim_start_matches(blank);
    while !rest.is_empty() {
        let end = rest.find(|c: char| blank(c) || c == '=').unwrap_or(rest.len());
        let key = &rest[..end];
        rest = rest[end..].trim_start_matches(blank);
        let mut value = "";
        if let Some(behind) = rest.strip_prefix('=') {
            let behind = behind.trim_start();
            let quote = behind.chars().next().filter(|c| matches!(c, '"' | '\''));
            let (given, after) = match quote {
                Some(q) => behind[1..].split_once(q).unwrap_or((&behind[1..], "")),
                None => behind.split_at(behind.find(char::is_whitespace).unwrap_or(behind.len())),
            };
            (value, rest) = (given, after.trim_start_matches(blank));
        }
        if key.eq_ignore_ascii_case(name) {
            return Some(entities(value));
        }
    }
    None
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
    tables: Vec<Grid>,
    /// Inside the reading of a character (`rt`), which stands behind it in parentheses; inside parentheses of its own (`rp`).
    reading: bool,
    bracket: bool,
}

impl Builder {
    fn text(&mut self, raw: &str) {
        if raw.contains('&') { self.chars(&entities(raw)) } else { self.chars(raw) }
    }

    fn chars(&mut self, text: &str) {
        if self.bracket {
            return;
        }
        if let Some(table) = self.tables.last_mut() {
            table.push(text);
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
        self.ruby(tag);
        match tag.name.as_str() {
            "table" if open => {
                if self.tables.is_empty() {
                    self.flush();
                }
                self.tables.push(Grid::default());
            }
            "table" => self.end_table(),
            "tr" | "td" | "th" | "thead" | "tbody" | "tfoot" | "caption" if !self.tables.is_empty() => self.cell(tag),
            name if !self.tables.is_empty() => self.chars(if INLINE.contains(&name) { "" } else { " " }),
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
                        Some(Some(next)) => {
                            let n = tag.number.unwrap_or(*next);
                            *next = n.saturating_add(1);
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
                    self.lists.push((name == "ol").then_some(tag.number.unwrap_or(1)));
                } else if !open {
                    self.lists.pop();
                }
            }
            // Inside an entry, a paragraph is the entry's.
            "p" | "div" if open && self.kind == Some(BlockKind::Item) => self.space = true,
            name if BLOCKS.contains(&name) => self.flush(),
            name if FIELDS.contains(&name) => self.space = true,
            _ => {}
        }
    }

    /// A reading stands in parentheses behind its character, whether or not the page brings parentheses for browsers without readings.
    fn ruby(&mut self, tag: &Tag) {
        self.bracket = tag.name == "rp" && !tag.closing;
        if matches!(tag.name.as_str(), "rt" | "ruby" | "rb" | "rp" | "rtc" | "table" | "td" | "th" | "p" | "div" | "li") && self.reading {
            self.reading = false;
            let bracket = std::mem::take(&mut self.bracket);
            self.chars(")");
            self.bracket = bracket;
        }
        if tag.name == "rt" && !tag.closing {
            self.reading = true;
            self.chars("(");
        }
    }

    fn cell(&mut self, tag: &Tag) {
        let Some(table) = self.tables.last_mut() else { return };
        match (tag.name.as_str(), tag.closing) {
            ("tr", false) => table.row(),
            ("td" | "th", false) => table.cell(tag.spans.0, tag.spans.1),
            ("thead" | "tbody" | "tfoot", _) => table.group(),
            (name, _) => {
                table.end_cell();
                if name == "caption" {
                    table.push(" ");
                }
            }
        }
    }

    fn end_table(&mut self) {
        let Some(table) = self.tables.pop() else { return };
        let (outside, rows) = table.finish();
        if let Some(around) = self.tables.last_mut() {
            // A table in a cell: its text, in order.
            let cells = rows.iter().flatten().map(|c| c.trim()).filter(|c| !c.is_empty());
            let text = [outside.as_str()].into_iter().filter(|t| !t.is_empty()).chain(cells).collect::<Vec<_>>().join(" ");
            around.push(&text);
            return;
        }
        if !outside.is_empty() {
            self.blocks.push(Block::plain(BlockKind::Paragraph, outside, 1));
        }
        if rows.is_empty() {
            return;
        }
        // One column is layout, not a table.
        let (kind, text) = match rows.iter().map(Vec::len).max() {
            Some(1) => (
                BlockKind::Paragraph,
                rows.iter().map(|r| r[0].split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join("\n"),
            ),
            _ => (BlockKind::Table, table::markdown(&rows)),
        };
        self.blocks.push(Block::plain(kind, text, 1));
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
    fn cells_that_span_leave_the_others_in_their_columns() {
        for (html, want) in [
            (
                "<table><caption>Prices <b>2024</b></caption><tr><th>Item<th colspan=2>Price<tr><td>Rent<td>850<td>EUR</table>",
                "Prices 2024\n\n| Item | Price |  |\n| --- | --- | --- |\n| Rent | 850 | EUR |",
            ),
            (
                "<table><tr><td rowspan='2'>甲方</td><td>姓名</td><td>王</td></tr><tr><td>电话</td><td>1</td></tr><tr><td>乙方<td>x<td>y</table>",
                "| 甲方 | 姓名 | 王 |\n| --- | --- | --- |\n|  | 电话 | 1 |\n| 乙方 | x | y |",
            ),
            // A span over all columns makes none; one that never ends stops with its group of rows.
            (
                "<table><tbody><tr><td rowspan=0>a<td>b<tr><td>c</tbody><tbody><tr><td>d<td>e<tr><td colspan=1000000>all</table>",
                "| a | b |\n| --- | --- |\n|  | c |\n| d | e |\n| all |  |",
            ),
            ("<table><tr><td data-colspan=3>H<sub>2</sub>O<td>中<b>文</b><br>x</table>", "| H2O | 中文 x |\n| --- | --- |"),
            (
                "<table><caption>loose</caption>text<tr><td>a<td><table><caption>in</caption><tr><td>n1<td>n2</table></table>",
                "loose text\n\n| a | in n1 n2 |\n| --- | --- |",
            ),
        ] {
            assert_eq!(crate::block::join(&blocks(html)).0, want, "{html}");
        }
    }

    #[test]
    fn spans_without_bounds_are_bounded() {
        let wide = "<td colspan=99999999999 rowspan=65534>x".repeat(300);
        let rows = format!("{wide}<tr>").repeat(30) + &"<tr><td>y".repeat(5_000);
        let text = crate::block::join(&blocks(&format!("<table><tr>{rows}</table>"))).0;
        assert_eq!((text.matches('x').count(), text.matches('y').count()), (9_000, 5_000));
        assert!(text.len() < 20_000_000, "{}", text.len());
    }

    #[test]
    fn readings_fields_and_numbers_stay_apart() {
        for (html, want) in [
            ("<ruby>漢<rp>(</rp><rt>kan</rt><rp>)</rp>字<rp>(<rt>ji<rp>)</ruby>を", "漢(kan)字(ji)を"),
            ("<ruby>漢<rt>kan</ruby>.", "漢(kan)."),
            ("<ruby>北<rt>běi<rt>jīng</ruby>", "北(běi)(jīng)"),
            ("<label>Name</label><input><button>Send</button>now", "Name Send now"),
            ("<ol start=3><li>c<li value='7'>g<li>h</ol><ol><li>a</ol>", "3. c|7. g|8. h|1. a"),
        ] {
            let got: Vec<String> = blocks(html).into_iter().map(|b| b.text).collect();
            assert_eq!(got.join("|"), want, "{html}");
        }
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
        fn nothing_panics(html in "[a-z<>/\"'=&;#!\\- 好]{0,120}", tags in prop::collection::vec("</?(table|td|tr|tbody|caption|td colspan=9|td rowspan=3|li|ul|a|p|pre|h1|head|rt|rp|ol start=9)[ >]", 0..12)) {
            let mixed: String = tags.concat() + &html + &tags.concat();
            for block in blocks(&mixed) {
                let length = block.text.chars().count();
                prop_assert!(block.links.iter().all(|l| l.start < l.end && l.end <= length));
            }
        }
    }
}

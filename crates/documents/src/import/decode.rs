//! Bytes of text in any encoding to UTF-8. Owns the libraries `encoding_rs` and `chardetng`.

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};

/// Bytes looked at to tell the encoding.
const SNIFFED: usize = 256 * 1024;

/// A decoded text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// The text; line ends are `\n`, the byte-order mark is gone.
    pub text: String,
    /// The encoding's usual name.
    pub encoding: &'static str,
    /// Sequences that the encoding does not have and that became U+FFFD.
    pub replaced: usize,
}

/// Decodes: a byte-order mark decides, then what is `declared` (an unusable name is an error if `strict`, otherwise it is ignored), then
/// the bytes themselves: valid UTF-8, the pattern of UTF-16, UTF-8 with a few broken characters, and last the statistics of legacy encodings.
///
/// # Errors
/// A declared name that is no encoding.
pub fn decode(bytes: &[u8], declared: Option<&str>, strict: bool) -> Result<Decoded, String> {
    let named = match declared {
        Some(label) => match Encoding::for_label(label.trim().as_bytes()) {
            None if strict => {
                return Err(format!("{label:?} is no encoding; examples: utf-8, utf-16le, gb18030, big5, windows-1252"));
            }
            named => named,
        },
        None => None,
    };
    let (encoding, mark) = match Encoding::for_bom(bytes) {
        Some((encoding, mark)) => (encoding, mark),
        None => (named.unwrap_or_else(|| guess(bytes)), 0),
    };
    let (text, broken) = encoding.decode_without_bom_handling(&bytes[mark..]);
    let replaced = if broken { text.matches('\u{FFFD}').count() } else { 0 };
    let text = if text.contains('\r') { text.replace("\r\n", "\n").replace('\r', "\n") } else { text.into_owned() };
    Ok(Decoded { text, encoding: encoding.name(), replaced })
}

/// The likeliest encoding of bytes without a mark.
fn guess(bytes: &[u8]) -> &'static Encoding {
    let head = &bytes[..bytes.len().min(SNIFFED)];
    let utf8 = match std::str::from_utf8(head) {
        Ok(_) => true,
        // Cut within a character.
        Err(e) => e.error_len().is_none() && head.len() < bytes.len(),
    };
    if utf8 && !head.contains(&0) {
        return UTF_8;
    }
    if let Some(encoding) = utf16(head) {
        return encoding;
    }
    if utf8 || nearly_utf8(head, head.len() < bytes.len()) {
        return UTF_8;
    }
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    detector.feed(head, true);
    let encoding = detector.guess(None, Utf8Detection::Deny);
    // GB18030 reads all that GBK does.
    if encoding == encoding_rs::GBK { encoding_rs::GB18030 } else { encoding }
}

/// Whether bytes that are no valid UTF-8 are a UTF-8 text all the same, with a character cut here and there: what other encodings write is valid
/// UTF-8 in places, too, by accident, but by far not this often (a third of the characters of Chinese, Japanese, Korean, Thai texts, fewer of others).
fn nearly_utf8(head: &[u8], goes_on: bool) -> bool {
    let (mut good, mut bad, mut cut) = (0usize, 0usize, false);
    // Characters of three and more bytes in a run of valid ones between ASCII: no accident.
    let (mut run, mut long, mut clean) = (0usize, 0usize, true);
    let mut chunks = head.utf8_chunks().peekable();
    while let Some(chunk) = chunks.next() {
        for c in chunk.valid().chars() {
            if c.is_ascii() {
                good += run + if clean { 4 * long } else { 0 };
                (run, long, clean) = (0, 0, true);
            } else {
                run += c.len_utf8() - 1;
                long += usize::from(c.len_utf8() > 2);
            }
        }
        if !chunk.invalid().is_empty() {
            clean = false;
            let last = chunks.peek().is_none();
            cut |= last && std::str::from_utf8(chunk.invalid()).is_err_and(|e| e.error_len().is_none());
            // What the limit of the bytes looked at cut is whole in the text.
            bad += usize::from(!(last && goes_on));
        }
    }
    good += run + if clean { 4 * long } else { 0 };
    // A text that ends within a character, and is whole otherwise, needs less to be believed.
    good >= bad * 8 || (bad == 1 && cut && good >= 6)
}

/// Whether bytes with zeros in them are UTF-16 text.
pub fn looks_utf16(head: &[u8]) -> bool {
    Encoding::for_bom(head).is_some() || utf16(head).is_some()
}

/// UTF-16 without a mark: a zero in nearly every other place (Latin text), or nearly all units in the blocks of Chinese text.
fn utf16(head: &[u8]) -> Option<&'static Encoding> {
    let pairs = head.len() / 2;
    if pairs < 2 {
        return None;
    }
    let zeros = |offset: usize| head.iter().skip(offset).step_by(2).filter(|&&b| b == 0).count();
    let (even, odd) = (zeros(0), zeros(1));
    if even + odd > 0 {
        let enough = pairs / 4;
        return match (even, odd) {
            (0, odd) if odd > enough => Some(UTF_16LE),
            (even, 0) if even > enough => Some(UTF_16BE),
            _ => chinese_units(head),
        };
    }
    chinese_units(head)
}

/// A third of all pairs of bytes are Chinese characters in UTF-16, those of Shift_JIS and of long words in Latin letters among them. What tells
/// Chinese is that one in eight of its low bytes is a control character, which no text has in which a byte or two is a character.
fn chinese_units(head: &[u8]) -> Option<&'static Encoding> {
    let controls = head.iter().filter(|&&b| b < 0x20 && !matches!(b, b'\t' | b'\n' | 0x0C | b'\r' | 0x1B)).count();
    if !head.len().is_multiple_of(2) || controls * 50 < head.len() {
        return None;
    }
    [(UTF_16LE, false), (UTF_16BE, true)].into_iter().find_map(|(encoding, big)| {
        let units = head.chunks_exact(2).map(|p| if big { u16::from_be_bytes([p[0], p[1]]) } else { u16::from_le_bytes([p[0], p[1]]) });
        let (mut fit, mut all) = (0usize, 0usize);
        for unit in units {
            all += 1;
            fit += usize::from(
                matches!(unit, 0x4E00..=0x9FFF | 0x3000..=0x30FF | 0xFF00..=0xFF5E | 0x20..=0x7E | 0x0A | 0x0D | 0x2014..=0x2026),
            );
        }
        (fit * 20 >= all * 19).then_some(encoding)
    })
}

/// The `charset` that the first bytes of an HTML or XML file name.
pub fn html_charset(bytes: &[u8]) -> Option<String> {
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(4096)]).to_ascii_lowercase();
    let at = head.find("charset=").map(|i| i + 8).or_else(|| {
        let xml = head.trim_start().starts_with("<?xml").then(|| head.find("encoding="))??;
        Some(xml + 9)
    })?;
    let name: String =
        head[at..].trim_start_matches(['"', '\'', ' ']).chars().take_while(|c| c.is_ascii_alphanumeric() || "-_:.".contains(*c)).collect();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CHINESE: &str = "第一条 本合同由甲乙双方在平等自愿的基础上签订。租赁期限为十二个月，自二〇二四年一月一日起计算，租金按月支付，逾期每日加收千分之五的违约金。";

    fn utf16(text: &str, big: bool, mark: bool) -> Vec<u8> {
        let units = mark.then_some(0xFEFF).into_iter().chain(text.encode_utf16());
        units.flat_map(|u| if big { u.to_be_bytes() } else { u.to_le_bytes() }).collect()
    }

    #[test]
    fn encodings_are_told_from_their_bytes() {
        let traditional = "本合約由甲乙雙方於平等自願之基礎上簽訂，租賃期間為十二個月，租金按月支付，逾期者每日加收千分之五之違約金。";
        let latin = "Le présent contrat est conclu entre les parties soussignées, à Genève, le premier août, pour une durée indéterminée.";
        let cases: Vec<(Vec<u8>, &str, &str)> = vec![
            (CHINESE.into(), CHINESE, "UTF-8"),
            ([b"\xEF\xBB\xBF", CHINESE.as_bytes()].concat(), CHINESE, "UTF-8"),
            (encoding_rs::GB18030.encode(CHINESE).0.into_owned(), CHINESE, "gb18030"),
            (encoding_rs::BIG5.encode(traditional).0.into_owned(), traditional, "Big5"),
            (encoding_rs::WINDOWS_1252.encode(latin).0.into_owned(), latin, "windows-1252"),
            (utf16(CHINESE, false, true), CHINESE, "UTF-16LE"),
            (utf16(CHINESE, false, false), CHINESE, "UTF-16LE"),
            (utf16(CHINESE, true, false), CHINESE, "UTF-16BE"),
            (utf16("plain text, no mark\n", false, false), "plain text, no mark\n", "UTF-16LE"),
            (utf16("plain text, no mark\n", true, true), "plain text, no mark\n", "UTF-16BE"),
            (Vec::new(), "", "UTF-8"),
        ];
        for (bytes, text, encoding) in cases {
            let decoded = decode(&bytes, None, false).unwrap();
            assert_eq!((decoded.text.as_str(), decoded.encoding, decoded.replaced), (text, encoding, 0));
        }
    }

    #[test]
    fn a_few_broken_characters_leave_a_text_utf8() {
        let long = CHINESE.as_bytes();
        let cut_within = [&long[..31], &long[32..]].concat();
        let quotes = b"He said \xE2\x80\x9Cno\xE2\x80\x9D, and it\x92s final.".to_vec();
        let one_bad = ["Good text, mostly 你好 with one bad byte \n".repeat(30).as_bytes(), b"\xFF\n"].concat();
        for (bytes, part, replaced) in [
            (long[..long.len() - 1].to_vec(), "的违约金\u{FFFD}", 1),
            ("你好世界".as_bytes()[..11].to_vec(), "你好世\u{FFFD}", 1),
            (cut_within, "第一条 本合同由甲", 2),
            (quotes, "“no”, and it\u{FFFD}s", 1),
            (one_bad, "你好 with one bad byte \n\u{FFFD}", 1),
        ] {
            let decoded = decode(&bytes, None, false).unwrap();
            assert_eq!((decoded.encoding, decoded.replaced), ("UTF-8", replaced), "{}", decoded.text);
            assert!(decoded.text.contains(part), "{}", decoded.text);
        }
    }

    #[test]
    fn legacy_texts_of_any_length_are_neither_utf8_nor_utf16() {
        let samples: [(&'static Encoding, &str); 7] = [
            (encoding_rs::GB18030, CHINESE),
            (
                encoding_rs::BIG5,
                "這是大五碼的文字內容，測試看看能不能讀。租賃期間為十二個月，租金按月支付，逾期者每日加收千分之五之違約金。",
            ),
            (
                encoding_rs::SHIFT_JIS,
                "日本語のテキストです。これはシフトJISです。契約書は双方の合意により締結され、賃貸期間は十二ヶ月とする。",
            ),
            (encoding_rs::EUC_KR, "한국어 텍스트입니다. 이것은 시험입니다. 본 계약은 당사자 간의 합의에 따라 체결된다."),
            (encoding_rs::WINDOWS_1251, "Привет мир, это русский текст. НАСТОЯЩИЙ ДОГОВОР ЗАКЛЮЧЁН Между Сторонами."),
            (encoding_rs::WINDOWS_1252, "Überraschungsgästelistenverwaltungsgerätefühler, à Genève, «où» l’été naïf est resté ŒUVRE."),
            (encoding_rs::WINDOWS_874, "สัญญาฉบับนี้ทำขึ้นระหว่างคู่สัญญาทั้งสองฝ่าย เพื่อเป็นหลักฐานในการเช่าบ้าน"),
        ];
        for (encoding, text) in samples {
            let chars: Vec<char> = text.chars().collect();
            for window in chars.windows(8).chain(chars.windows(20)).chain([&chars[..]]).filter(|w| w.iter().any(|c| !c.is_ascii())) {
                let part: String = window.iter().collect();
                let got = guess(&encoding.encode(&part).0);
                assert!(![UTF_8, UTF_16LE, UTF_16BE].contains(&got), "{} {part:?} as {}", encoding.name(), got.name());
            }
        }
        for (encoding, text) in [
            (encoding_rs::SHIFT_JIS, "日本語のテキストです。"),
            (encoding_rs::WINDOWS_1252, "Überraschungsgästeliste"),
            (encoding_rs::GB18030, "这是国标编码的文本，内容很短。"),
        ] {
            let decoded = decode(&encoding.encode(text).0, None, false).unwrap();
            assert_eq!((decoded.text.as_str(), decoded.replaced), (text, 0), "{}", decoded.encoding);
        }
    }

    #[test]
    fn the_user_overrides_and_a_wrong_name_is_refused() {
        let bytes = encoding_rs::GB18030.encode("好").0.into_owned();
        assert_eq!(decode(&bytes, Some("gbk"), true).unwrap().text, "好");
        assert!(decode(&bytes, Some("klingon"), true).unwrap_err().contains("gb18030"));
        assert!(decode(b"a", Some("klingon"), false).is_ok());
        assert!(decode(b"\xFF\xFFabc", Some("utf-8"), true).unwrap().replaced > 0);
        assert_eq!(decode(b"a\r\nb\rc", None, false).unwrap().text, "a\nb\nc");
    }

    #[test]
    fn html_names_its_charset() {
        assert_eq!(html_charset(b"<meta charset=\"GB2312\">").as_deref(), Some("gb2312"));
        assert_eq!(html_charset(b"<meta http-equiv=x content='text/html; charset=big5'>").as_deref(), Some("big5"));
        assert_eq!(html_charset(b"<?xml version='1.0' encoding='utf-16'?>").as_deref(), Some("utf-16"));
        assert_eq!(html_charset(b"<p>").as_deref(), None);
    }

    proptest! {
        #[test]
        fn any_bytes_decode(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            let decoded = decode(&bytes, None, false).unwrap();
            prop_assert!(!decoded.text.contains('\r'));
        }
    }
}

//! What `bench/vectorize.py` times: one job on a file of lines, its seconds as JSON.
//!
//! speed tfidf FILE MAX_N | speed word2vec FILE cbow|skipgram WORKERS EPOCHS OUTPUT

use std::time::Instant;

use vectorize::analyze::Analyzer;
use vectorize::embed::{Architecture, Word2VecSettings, train};
use vectorize::save::vectors::{VectorFormat, word2vec};
use vectorize::{AnalyzerSettings, TermSettings, TermVectorizer};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["tfidf", file, max_n] => {
            let texts = std::fs::read_to_string(file)?;
            let texts: Vec<&str> = texts.lines().collect();
            let analyzer = AnalyzerSettings { ngram_range: (1, max_n.parse()?), ..Default::default() };
            let begun = Instant::now();
            let (vectorizer, rows) = TermVectorizer::fit_transform(&TermSettings { analyzer, ..Default::default() }, &texts)?;
            let seconds = begun.elapsed().as_secs_f64();
            println!(r#"{{"seconds": {seconds}, "terms": {}, "stored": {}}}"#, vectorizer.terms().len(), rows.stored());
        }
        ["word2vec", file, architecture, workers, epochs, output] => {
            let texts = std::fs::read_to_string(file)?;
            let texts: Vec<&str> = texts.lines().collect();
            let words: usize = texts.iter().map(|t| t.split(' ').count()).sum();
            let pattern = AnalyzerSettings { token_pattern: Some(r"(?u)\b\w+\b".to_owned()), ..Default::default() };
            let architecture = if architecture == "cbow" { Architecture::Cbow } else { Architecture::Skipgram };
            let (workers, epochs) = (workers.parse()?, epochs.parse()?);
            let settings = Word2VecSettings { architecture, workers, epochs, ..Default::default() };
            let begun = Instant::now();
            let vectors = train(&Analyzer::new(&pattern)?, &settings, &texts, &mut |_| true)?;
            let seconds = begun.elapsed().as_secs_f64();
            word2vec(output.as_ref(), &vectors, VectorFormat::Binary)?;
            println!(r#"{{"seconds": {seconds}, "words_per_second": {}}}"#, (words * epochs) as f64 / seconds);
        }
        _ => return Err("usage: speed tfidf FILE MAX_N | speed word2vec FILE cbow|skipgram WORKERS EPOCHS OUTPUT".into()),
    }
    Ok(())
}

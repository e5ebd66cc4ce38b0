//! Every kernel at the sizes of SmolLM2-135M, with the fraction of what the same run measured as the machine's limit:
//! `cargo bench -p kernels [-- filter]`. The table at the end repeats all of it in one place.

mod attention;
mod passes;
mod products;
mod record;

fn main() {
    let mut r = record::Record::new();
    products::run(&mut r);
    attention::run(&mut r);
    passes::run(&mut r);
    r.finish();
}

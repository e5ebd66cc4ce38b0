//! Attention with the model's heads. Operations are counted as the visible half of the scores needs them: two products
//! forward, five backward.

use crate::record::{Bound, Record, bits, numbers};
use kernels::attention::{self, Heads, Shape, Span};

/// Forward and backward in f32 and bf16.
pub fn run(r: &mut Record) {
    let (heads, kv_heads, dim) = (9, 3, 64);
    for (count, len) in [(16, 64), (4, 256), (1, 1024)] {
        let tokens = count * len;
        let shape = Shape { tokens, heads, kv_heads, dim, causal: true, window: usize::MAX };
        let span = |i: usize| Span { start: i * len, len, past: 0, key_base: i * len * dim, value_base: i * len * dim };
        let spans: Vec<Span> = (0..count).map(span).collect();
        let q = numbers(heads * tokens * dim);
        let (k, v) = (numbers(kv_heads * tokens * dim), numbers(kv_heads * tokens * dim));
        let dout = numbers(q.len());
        let product = 2.0 * (heads * dim * count) as f64 * (len * (len + 1) / 2) as f64;
        let name = |kind: &str| format!("attention {kind} [{count} x {len}]");

        let parts = attention::backward_parts(&shape, len).max(attention::bf16::backward_parts(&spans, &shape));
        let (mut out, mut lse, mut dq) = (vec![0.0; q.len()], vec![0.0; heads * tokens], vec![0.0; q.len()]);
        let (mut dk, mut dv) = (vec![0.0; parts * k.len()], vec![0.0; parts * k.len()]);
        let (token, head) = (dim, tokens * dim);
        let (kh, vh) = (Heads { data: &k[..], token, head }, Heads { data: &v[..], token, head });
        r.bench(&name("forward f32"), Bound::F32, 2.0 * product, || {
            attention::forward(&mut out, Some(&mut lse), &q, kh, vh, &spans, &shape)
        });
        let some = attention::backward_parts(&shape, len);
        r.bench(&name("backward f32"), Bound::F32, 5.0 * product, || {
            let (dk, dv) = (&mut dk[..some * k.len()], &mut dv[..some * k.len()]);
            attention::backward((&mut dq, dk, dv), some, &dout, &out, &lse, &q, kh, vh, &spans, &shape)
        });
        let (q, k, v, dout) = (bits(&q), bits(&k), bits(&v), bits(&dout));
        let mut out = bits(&out);
        let (kh, vh) = (Heads { data: &k[..], token, head }, Heads { data: &v[..], token, head });
        r.bench(&name("forward bf16"), Bound::Bf16, 2.0 * product, || {
            attention::bf16::forward(&mut out, Some(&mut lse), &q, kh, vh, &spans, &shape)
        });
        let some = attention::bf16::backward_parts(&spans, &shape);
        r.bench(&name("backward bf16"), Bound::Bf16, 5.0 * product, || {
            let (dk, dv) = (&mut dk[..some * k.len()], &mut dv[..some * k.len()]);
            attention::bf16::backward((&mut dq, dk, dv), some, &dout, &out, &lse, &q, kh, vh, &spans, &shape)
        });
    }
}

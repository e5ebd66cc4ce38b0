#!/usr/bin/env python3
"""Text PDFs beside pdftotext, as a user runs both: many files, process start, store and all.

    cargo build --release
    pip install reportlab fpdf2          # and the fonts that oracles/documents_corpus.py names
    python bench/documents.py target/release/tunesmith [--files 200] [--pages 10] [--rounds 3] [--threads 2] [--corpus DIR]

Makes a corpus (unless DIR holds one already): FILES files of PAGES pages, in turn one and two columns, one in five Chinese, with tables, each
page with other words. Ours is `docs ingest DIR --store NEW` with two threads, from nothing each time; theirs is `pdftotext FILE OUT` for
every file, two processes at a time. Runs alternate; medians are compared. The last line is JSON.
"""
import argparse
import importlib.util
import json
import os
import pathlib
import random
import shutil
import statistics
import subprocess
import tempfile
import time

ORACLE = pathlib.Path(__file__).parent.parent / "oracles/documents_corpus.py"


def corpus(out, files, pages):
    spec = importlib.util.spec_from_file_location("documents_corpus", ORACLE)
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    make.pdfmetrics.registerFont(make.TTFont("Serif", make.SERIF))
    make.pdfmetrics.registerFont(make.TTFont("Serif-Bold", make.SERIF_BOLD))
    out.mkdir(parents=True, exist_ok=True)
    rng = random.Random(1)
    for i in range(files):
        path = out / f"{i:04}.pdf"
        chinese, two = i % 10 >= 8, i % 2 == 1
        if chinese:
            pen = make.Fpdf(path, make.CJK, make.CJK_BOLD)
            texts, table, title = list(make.CHINESE), make.TABLE_ZH, ("房屋租赁合同", "合同的解除与交还")
        else:
            pen = make.Reportlab(path, "Serif", "Serif-Bold")
            texts, table, title = list(make.ENGLISH), make.TABLE_EN, ("Lease Agreement", "Termination and return")
        for page in range(pages):
            rng.shuffle(texts)
            layout = make.two_columns if two else make.one_column
            layout(pen, texts, table, chinese, f"{title[0]} {i}-{page}", title[1])
            if page + 1 < pages or not chinese:
                pen.page()
        pen.save()


def ours(program, folder, threads):
    with tempfile.TemporaryDirectory() as d:
        begun = time.perf_counter()
        out = subprocess.check_output(["/usr/bin/time", "-f", "%M", "-o", f"{d}/rss", program, "--threads", str(threads), "docs", "ingest", folder, "--store", f"{d}/store", "--json", "-q"])
        seconds = time.perf_counter() - begun
        report = json.loads(out.splitlines()[-1])
        assert not report["failed"], report["failed"][:3]
        return report["pages"] / seconds, report["pages"], int(open(f"{d}/rss").read()) / 1024


def theirs(folder, pages, processes):
    with tempfile.TemporaryDirectory() as d:
        names = "\0".join(sorted(os.listdir(folder)))
        begun = time.perf_counter()
        subprocess.run(["xargs", "-0", "-P", str(processes), "-I", "{}", "pdftotext", f"{folder}/{{}}", f"{d}/{{}}.txt"], input=names.encode(), check=True)
        return pages / (time.perf_counter() - begun)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program")
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--pages", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--corpus", type=pathlib.Path)
    args = parser.parse_args()
    made = None
    folder = args.corpus
    if folder is None:
        made = tempfile.mkdtemp()
        folder = pathlib.Path(made)
    if not any(folder.glob("*.pdf")):
        corpus(folder, args.files, args.pages)
    we, one, two, rss = [], [], [], 0
    for _ in range(args.rounds):
        speed, pages, memory = ours(args.program, folder, args.threads)
        we.append(speed)
        rss = max(rss, memory)
        one.append(theirs(folder, pages, 1))
        two.append(theirs(folder, pages, 2))
    a, b, c = statistics.median(we), statistics.median(one), statistics.median(two)
    print(json.dumps({
        "pages": pages, "files": len(list(folder.glob("*.pdf"))), "threads": args.threads, "pages_per_s": round(a, 1), "peak_rss_mb": round(rss),
        "pdftotext_pages_per_s": round(b, 1), "pdftotext_two_processes_pages_per_s": round(c, 1),
        "ratio": round(a / b, 2), "ratio_two_processes": round(a / c, 2),
    }))
    if made:
        shutil.rmtree(made)


main()

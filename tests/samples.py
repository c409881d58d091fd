"""Run the tools that are there on small sequences made here, and keep their output as samples: `make samples`."""

import os
import random
import shutil
import subprocess
import tempfile
from pathlib import Path

DATA = Path(__file__).parent / "data"
CODONS = {"A": "GCT", "C": "TGT", "D": "GAC", "E": "GAA", "F": "TTC", "G": "GGT", "H": "CAC", "I": "ATC", "K": "AAA", "L": "CTG",
          "M": "ATG", "N": "AAC", "P": "CCG", "Q": "CAG", "R": "CGT", "S": "TCT", "T": "ACC", "V": "GTG", "W": "TGG", "Y": "TAT"}  # fmt: skip

# {folder of the samples: {output: command}}; a command writes to its standard output, in a folder with the sequences
RUNS = {
    "mash/{mash}": {
        "lakeA_dist.tab": "mash dist -s 400 lakeA.fna lakeB.fna soil.fna 2>/dev/null",
        "reads_screen.tab": "mash sketch -s 400 -o db lakeA.fna lakeB.fna soil.fna 2>/dev/null && mash screen db.msh reads.fna 2>/dev/null",
    },
    "diamond/{diamond}": {
        "soil_blastp.tsv": "diamond makedb --quiet --in lakeA.faa -d db && diamond blastp --quiet -p 1 -d db -q soil.faa",
    },
    "diamond/{diamond}-header": {
        "lakeB_blastx.tsv": "diamond blastx --quiet --header simple -p 1 -d db -q lakeB.fna",
    },
    "diamond/{blast}-outfmt-7": {
        "soil_blastp.outfmt7.txt": "makeblastdb -in lakeA.faa -dbtype prot -out bdb >/dev/null && blastp -db bdb -query soil.faa -outfmt 7 -evalue 1e-5",
    },
    "skani/{skani}-dist-real": {"skani_dist.tsv": "skani dist -t 1 -r pond.fna -q mere.fna heath.fna 2>/dev/null"},
    "skani/{skani}-triangle-E-detailed-real": {
        "skani_triangle.tsv": "skani triangle -t 1 -E --detailed pond.fna mere.fna heath.fna 2>/dev/null",
    },
    "skani/{skani}-search-ci-real": {
        "skani_search.txt": "skani sketch -t 1 -o genomes pond.fna mere.fna >&2 && skani search -t 1 --ci -d genomes -q heath.fna 2>/dev/null",
    },
    "seqkit/{seqkit}-T": {"genomes_stats.tsv": "seqkit stats -j 1 -a -T lakeA.fna lakeB.fna soil.faa"},
    "mmseqs2/{mmseqs}-easy-cluster-real": {
        "proteins_cluster.tsv": "cat lakeA.faa soil.faa > all.faa && mmseqs easy-cluster all.faa proteins tmp --threads 1 -v 1 >&2 && cat proteins_cluster.tsv",
    },
}
VERSIONS = {
    "mash": "mash --version",
    "diamond": "diamond --version | cut -d' ' -f3",
    "skani": "skani --version | cut -d' ' -f2",
    "blast": "blastp -version | sed -n '1s/.* //; s/+$//p'",
    "seqkit": "seqkit version | sed 's/.* v//'",
    "mmseqs": "mmseqs version | sed 's/+.*//'",
}


def write_genomes(folder: Path) -> None:
    """Three genomes of 120,000 bp, two of them with mutations in 2 and in 7 % of their places."""
    chance = random.Random(21)
    first = "".join(chance.choices("ACGT", k=120_000))
    for name, share in {"pond": 0, "mere": 0.02, "heath": 0.07}.items():
        genome = "".join(chance.choice("ACGT") if chance.random() < share else base for base in first)
        (folder / f"{name}.fna").write_text(f">{name}_ctg1 made for the samples\n{genome}\n")


def write_sequences(folder: Path) -> None:
    """Three small genomes of a few genes, two of them alike; their proteins; and reads of one."""
    chance = random.Random(20)

    def mutated(protein: str, share: float) -> str:
        return "".join(chance.choice(list(CODONS)) if chance.random() < share else aa for aa in protein)

    def gene(protein: str) -> str:
        return "".join(CODONS[aa] for aa in protein) + "TAA"

    first = ["M" + "".join(chance.choices(list(CODONS), k=length)) for length in (180, 240, 310, 95)]
    genomes = {"lakeA": first, "lakeB": [mutated(p, 0.01) for p in first], "soil": [mutated(p, 0.35) for p in first]}
    for name, proteins in genomes.items():
        contig = "".join(map(gene, proteins))
        (folder / f"{name}.fna").write_text(f">{name}_ctg1 made for the samples\n{contig}\n")
        text = "".join(f">{name}_{n:05} made up\n{protein}\n" for n, protein in enumerate(proteins, 1))
        (folder / f"{name}.faa").write_text(text)
        if name == "lakeA":
            reads = [contig[start : start + 150] for start in range(0, len(contig) - 150, 50)]
            (folder / "reads.fna").write_text("".join(f">read{n}\n{read}\n" for n, read in enumerate(reads)))


def output_of(command: str, folder: Path | None = None) -> str:
    """What a shell command prints."""
    done = subprocess.run(command, shell=True, cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout


def main() -> None:
    """Write the samples of each tool that is on the PATH."""
    missing = [tool for tool, command in VERSIONS.items() if not shutil.which(command.split()[0])]
    known = {tool: output_of(command).strip() for tool, command in VERSIONS.items() if tool not in missing}
    with tempfile.TemporaryDirectory() as folder:
        write_sequences(Path(folder))
        write_genomes(Path(folder))
        for place, outputs in RUNS.items():
            if any(f"{{{tool}}}" in place for tool in missing):
                continue
            target = DATA / place.format(**known)
            target.mkdir(parents=True, exist_ok=True)
            for name, command in outputs.items():
                (target / name).write_text(output_of(command, Path(folder)))
                print(os.path.relpath(target / name))
    if missing:
        print(f"Not on the PATH, and left out: {', '.join(missing)}.")


if __name__ == "__main__":
    main()

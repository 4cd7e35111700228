//! Writes the cases of `tests/corpus` as seeds, one folder a target, where cargo-fuzz looks for them.

#[path = "../../../tests/corpus/reader.rs"]
mod reader;

use std::error::Error;
use std::path::Path;
use std::{fs, io};

fn main() -> Result<(), Box<dyn Error>> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let corpus = repository.join("tests/corpus");
    for target in ["head", "chunked", "whole_equals_split"] {
        for folder in ["valid", "invalid"] {
            for case in reader::load_directory(&corpus.join("http1").join(folder))? {
                write(target, &format!("{folder}-{}", case.name), &http_seed(target, &case.input))?;
            }
        }
    }
    for target in ["proxy_protocol", "config", "forwarding", "access_log"] {
        for case in reader::load_plain_directory(&corpus.join(target))? {
            let choice: &[u8] = match (target, case.expected[0].as_str()) {
                ("config" | "access_log", _) => b"",
                (_, "v1" | "none") => b"\x00",
                (_, "v2" | "scheme") => b"\x01",
                _ => b"\x02",
            };
            write(target, &case.name, &[choice, &case.input].concat())?;
        }
    }
    // Every key with its default, and every key with an example.
    let reference = fs::read_to_string(repository.join("config/app.toml"))?;
    write("config", "reference", reference.as_bytes())?;
    write("config", "reference-uncommented", uncommented(&reference).as_bytes())?;
    Ok(())
}

fn write(target: &str, name: &str, seed: &[u8]) -> io::Result<()> {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus").join(target);
    fs::create_dir_all(&seeds)?;
    fs::write(seeds.join(name), seed)
}

fn uncommented(text: &str) -> String {
    text.lines()
        .map(|line| line.trim_start_matches(['#', ' ']))
        .filter(|line| line.contains(" = ") || line.starts_with('['))
        .map(|line| format!("{line}\n"))
        .collect()
}

/// The bytes of a case in the form that the target takes.
fn http_seed(target: &str, input: &[u8]) -> Vec<u8> {
    let body = input.windows(4).position(|window| window == b"\r\n\r\n").map_or(input.len(), |end| end + 4);
    match target {
        "chunked" => input[body..].to_vec(),
        // The first byte is the length of the pieces.
        "whole_equals_split" => [b"\x07", input].concat(),
        _ => input.to_vec(),
    }
}

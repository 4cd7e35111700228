//! Writes the cases of `tests/corpus` as seeds, one folder a target, where cargo-fuzz looks for them.

#[allow(dead_code, reason = "only the bytes of the cases are used")]
#[path = "../../tests/corpus/reader.rs"]
mod reader;

use std::error::Error;
use std::fs;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR"));
    for target in ["head", "chunked", "whole_equals_split"] {
        let seeds = fuzz.join("corpus").join(target);
        fs::create_dir_all(&seeds)?;
        for folder in ["valid", "invalid"] {
            for case in reader::load_directory(&fuzz.join("../tests/corpus/http1").join(folder))? {
                fs::write(seeds.join(format!("{folder}-{}", case.name)), seed(target, &case.input))?;
            }
        }
    }
    Ok(())
}

/// The bytes of a case in the form that the target takes.
fn seed(target: &str, input: &[u8]) -> Vec<u8> {
    let body = input.windows(4).position(|window| window == b"\r\n\r\n").map_or(input.len(), |end| end + 4);
    match target {
        "chunked" => input[body..].to_vec(),
        // The first byte is the length of the pieces.
        "whole_equals_split" => [b"\x07", input].concat(),
        _ => input.to_vec(),
    }
}

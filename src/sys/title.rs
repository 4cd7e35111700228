//! The process title: the `comm` name that `top` shows and the command line that `ps` shows.
//!
//! Linux shows the memory between `arg_start` and `arg_end` (`/proc/self/stat`, proc_pid_stat(5)) as the command line. It is
//! overwritten in place, never past its end, and its last byte stays NUL.

use std::ffi::CString;
use std::fs;
use std::sync::OnceLock;

/// Names the process. Only while the process has one thread, and after the command line was read. What does not fit into
/// the space of the original command line is cut.
pub fn set(title: &str) {
    let title: String = title.chars().filter(|character| !character.is_control()).collect();
    let title = CString::new(title).unwrap_or_default();
    // It cuts to 15 bytes by itself and cannot fail otherwise (PR_SET_NAME(2const)).
    nix::sys::prctl::set_name(&title).ok();
    // The same in all processes that are forked.
    static AREA: OnceLock<Option<(usize, usize)>> = OnceLock::new();
    let read = || argument_area(&fs::read_to_string("/proc/self/stat").ok()?);
    if let Some((start, end)) = *AREA.get_or_init(read) {
        overwrite(title.as_bytes(), start, end);
    }
}

/// Fields 48 and 49 of `/proc/self/stat`. Field 2, the name, is in parentheses and may hold anything.
fn argument_area(stat: &str) -> Option<(usize, usize)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(48 - 3);
    let start: usize = fields.next()?.parse().ok()?;
    let end: usize = fields.next()?.parse().ok()?;
    (start != 0 && start < end).then_some((start, end))
}

fn overwrite(title: &[u8], start: usize, end: usize) {
    let area = std::ptr::with_exposed_provenance_mut::<u8>(start);
    let size = end - start;
    let length = title.len().min(size - 1);
    // SAFETY: the kernel says that the area holds the arguments, which are writable, live as long as the process and end
    // with NUL; the one thread of the process reads no argument meanwhile.
    unsafe { std::ptr::write_bytes(area, 0, size) };
    // SAFETY: as above; `length` is less than `size`.
    unsafe { std::ptr::copy_nonoverlapping(title.as_ptr(), area, length) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_argument_area_is_found_behind_any_name() {
        let numbers: Vec<String> = (3..=52).map(|field| field.to_string()).collect();
        let stat = format!("77 (a) b (c)) {}", numbers.join(" "));
        assert_eq!(argument_area(&stat), Some((48, 49)));
    }

    #[test]
    fn a_hidden_argument_area_is_left_alone() {
        let stat = format!("77 (rwsgi) S {}", "0 ".repeat(49));
        assert_eq!(argument_area(&stat), None);
    }

    #[test]
    fn a_title_never_leaves_its_area() {
        let mut area = *b"rwsgi\0-c\0guard";
        let start = area.as_mut_ptr().expose_provenance();
        overwrite(b"a title that is too long", start, start + 9);
        assert_eq!(&area, b"a title \0guard");
    }
}

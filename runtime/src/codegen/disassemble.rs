//! Machine code for people to read: with the feature `dump`, on x86-64.

/// The instructions of a kernel, a line each, followed by the constants. None where this library has no
/// disassembler.
#[cfg(not(all(feature = "dump", target_arch = "x86_64")))]
pub(crate) fn disassemble(_: &[u8]) -> Option<String> {
    None
}

/// The instructions of a kernel, a line each with its offset, followed by the constants. None where this library
/// has no disassembler.
#[cfg(all(feature = "dump", target_arch = "x86_64"))]
pub(crate) fn disassemble(bytes: &[u8]) -> Option<String> {
    use std::fmt::Write;

    use iced_x86::{Decoder, DecoderOptions, Formatter, Instruction, IntelFormatter, Mnemonic};

    let mut decoder = Decoder::with_ip(64, bytes, 0, DecoderOptions::NONE);
    let (mut formatter, mut instruction) = (IntelFormatter::new(), Instruction::default());
    let options = formatter.options_mut();
    options.set_branch_leading_zeros(false);
    options.set_small_hex_numbers_in_decimal(false);
    options.set_hex_prefix("0x");
    options.set_hex_suffix("");
    let mut text = String::new();
    // The code ends with an instruction that has no successor, if no instruction before it jumps beyond it.
    let (mut furthest, mut end) = (0, 0);
    while decoder.can_decode() {
        decoder.decode_out(&mut instruction);
        let _ = write!(text, "{:6x}  ", instruction.ip());
        formatter.format(&instruction, &mut text);
        text.push('\n');
        furthest = furthest.max(instruction.near_branch_target());
        end = decoder.position();
        let leads_on = !matches!(instruction.mnemonic(), Mnemonic::Ret | Mnemonic::Jmp);
        if !leads_on && furthest < end as u64 {
            break;
        }
    }
    for (i, words) in bytes[end..].chunks(16).enumerate() {
        let words: String = words.iter().map(|byte| format!("{byte:02x} ")).collect();
        let _ = writeln!(text, "{:6x}  data {}", end + 16 * i, words.trim_end());
    }
    Some(text)
}

#[cfg(all(test, feature = "dump", target_arch = "x86_64"))]
mod tests {
    use super::*;

    #[test]
    fn constants_are_behind_the_last_return_that_nothing_jumps_over() {
        let code = [0x75, 0x01, 0xc3, 0x90, 0xc3, 0x01, 0x02];
        let lines = ["     0  jne short 0x3", "     2  ret", "     3  nop", "     4  ret", "     5  data 01 02"];
        assert_eq!(disassemble(&code).expect("a disassembler").lines().collect::<Vec<_>>(), lines);
    }
}

//! Who may use the control interface.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use crate::error::RelayError;

/// Longest token, characters.
const MAX_TOKEN_LEN: usize = 1024;

/// See the [module](self).
pub struct Access {
    tokens: RwLock<Vec<String>>,
    /// tokens that stay when the file is read again
    fixed_tokens: Vec<String>,
    file: Option<PathBuf>,
    /// only this host can reach the control interface
    is_loopback: bool,
}

impl Access {
    /// # Errors
    /// [`RelayError::Token`] and [`RelayError::TokenFile`].
    pub fn new(
        address: SocketAddr,
        fixed_tokens: Vec<String>,
        file: Option<PathBuf>,
    ) -> Result<Self, RelayError> {
        fixed_tokens
            .iter()
            .try_for_each(|token| check(token, None))?;
        let access = Self {
            tokens: RwLock::default(),
            fixed_tokens,
            file,
            is_loopback: address.ip().to_canonical().is_loopback(),
        };
        access.reload()?;
        Ok(access)
    }

    /// Reads the file with tokens again. On an error the present tokens stay. Returns how many there
    /// are.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn reload(&self) -> Result<usize, RelayError> {
        let mut tokens = self.fixed_tokens.clone();
        if let Some(path) = &self.file {
            tokens.extend(read_tokens(path)?);
        }
        let count = tokens.len();
        *self.tokens.write().unwrap_or_else(PoisonError::into_inner) = tokens;
        Ok(count)
    }

    pub fn has_tokens(&self) -> bool {
        let tokens = self.tokens.read().unwrap_or_else(PoisonError::into_inner);
        !tokens.is_empty()
    }

    /// Whether a request with this token is accepted. Takes the same time for all tokens of a length.
    pub fn accepts(&self, given: &str) -> bool {
        let tokens = self.tokens.read().unwrap_or_else(PoisonError::into_inner);
        let is_same = |token: &String| is_same_token(token.as_bytes(), given.as_bytes());
        tokens
            .iter()
            .fold(false, |found, token| found | is_same(token))
    }

    /// Without a token, only requests for a name of this host are accepted on a loopback address.
    pub fn needs_local_name(&self) -> bool {
        self.is_loopback && !self.has_tokens()
    }
}

/// Whether two tokens are equal, in a time that does not depend on where they differ.
fn is_same_token(a: &[u8], b: &[u8]) -> bool {
    let differences = a.iter().zip(b).fold(0, |all, (a, b)| all | (a ^ b));
    a.len() == b.len() && differences == 0
}

/// The tokens of a file, one in each line. Empty lines and white space around a token are ignored.
///
/// # Errors
/// [`RelayError::TokenFile`] for a file that cannot be read, [`RelayError::Token`] for one without a
/// token or with one that is not valid.
pub fn read_tokens(path: &Path) -> Result<Vec<String>, RelayError> {
    let text = std::fs::read(path).map_err(|source| RelayError::TokenFile {
        path: path.to_owned(),
        source,
    })?;
    // Bytes that are not UTF-8 become a character that `check` rejects.
    let text = String::from_utf8_lossy(&text);
    let mut tokens = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let token = line.trim();
        if !token.is_empty() {
            check(token, Some((path, index + 1)))?;
            tokens.push(token.to_owned());
        }
    }
    if tokens.is_empty() {
        return Err(RelayError::Token {
            place: format!("{}: ", path.display()),
            reason: "the file has no token".into(),
        });
    }
    Ok(tokens)
}

/// Checks that a header can carry a token (RFC 6750 section 2.1, RFC 9110 section 5.5).
fn check(token: &str, place: Option<(&Path, usize)>) -> Result<(), RelayError> {
    let reason = match token.len() {
        0 => "is empty".into(),
        len if len > MAX_TOKEN_LEN => {
            format!("has {len} characters: expected at most {MAX_TOKEN_LEN}")
        }
        _ if token.bytes().all(|b| b.is_ascii_graphic()) => return Ok(()),
        _ => {
            "has a character that an HTTP header cannot carry: expected ASCII characters from `!` \
              to `~`, without spaces"
                .into()
        }
    };
    let place = place.map(|(path, line)| format!("{}, line {line}: ", path.display()));
    Err(RelayError::Token {
        place: place.unwrap_or_default(),
        reason: format!("the token {reason}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &[u8]) -> Result<Vec<String>, String> {
        let name = format!("quietwire-tokens-{:?}", std::thread::current().id());
        let path = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        let tokens = read_tokens(&path).map_err(|error| error.to_string());
        std::fs::remove_file(path).unwrap();
        tokens
    }

    #[test]
    fn a_file_has_one_token_in_each_line() {
        assert_eq!(tokens(b" a1 \n\n~b/+=\r\n").unwrap(), ["a1", "~b/+="]);
        for (text, place) in [
            (&b" \n"[..], "no token"),
            (b"right\nwr ong\n", "line 2"),
            (b"\n\nw\x01rong", "line 3"),
            ("schl\u{fc}ssel".as_bytes(), "line 1"),
            (b"\xff\xfe", "line 1"),
            (&[b'x'; 1025], "1025 characters"),
        ] {
            let error = tokens(text).unwrap_err();
            assert!(error.contains(place), "{error}");
            assert!(!error.contains("ong") && !error.contains("ssel"), "{error}");
        }
    }

    #[test]
    fn each_token_is_accepted() {
        let fixed = vec!["one".to_owned(), "three".to_owned()];
        let access = Access::new(([127, 0, 0, 1], 1).into(), fixed, None).unwrap();
        assert!(access.accepts("one") && access.accepts("three") && !access.needs_local_name());
        assert!(
            !["", "onE", "on", "onee", "two"]
                .iter()
                .any(|wrong| access.accepts(wrong))
        );
    }
}

//! Lines that their source numbered: a number that was told before with the same content is known, with other content it is
//! an error. Nothing here is asked for files without numbers.
//!
//! Each noun copies the numbers of its staged lines into [`STAGING`]; the statements here are the same for all of them.

use sqlx::PgConnection;

use super::Error;
use crate::domain::time::Instant;

/// `is_told`: the number is recorded, with this content.
pub const STAGING: &str = "CREATE TEMP TABLE staged_number (
    line bigint, source text COLLATE \"C\", source_seq text COLLATE \"C\", content uuid, is_told boolean) ON COMMIT DROP";

pub const COPY: &str = "COPY staged_number (line, source, source_seq, content) FROM STDIN (FORMAT binary)";

/// Notes numbers that stand for two things, and marks what was told before.
pub async fn check(conn: &mut PgConnection, noun: &str) -> Result<(), Error> {
    sqlx::query(
        r"INSERT INTO staged_error
          SELECT s.line, '/source_seq',
                 format('source_seq %s was told in line %s with other content: each line has a number of its own.',
                        s.source_seq, first.line)
            FROM staged_number s
            JOIN (SELECT DISTINCT ON (source, source_seq) * FROM staged_number ORDER BY source, source_seq, line) first
           USING (source, source_seq)
           WHERE s.content <> first.content",
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        r"INSERT INTO staged_error
          SELECT s.line, '/source_seq',
                 format('source_seq %s was told before with other content: send a new number for a correction.', s.source_seq)
            FROM staged_number s
            JOIN source_line r ON r.noun = $1 AND r.source = s.source AND r.source_seq = s.source_seq
           WHERE r.content <> s.content",
    )
    .bind(noun)
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        r"UPDATE staged_number s SET is_told = true FROM source_line r
           WHERE r.noun = $1 AND r.source = s.source AND r.source_seq = s.source_seq AND r.content = s.content",
    )
    .bind(noun)
    .execute(conn)
    .await?;
    Ok(())
}

/// Records the numbers that were not told before; those that stand for two things keep the file out in any case.
pub async fn save(conn: &mut PgConnection, noun: &str, recorded_at: Instant) -> Result<(), Error> {
    sqlx::query(
        r"INSERT INTO source_line (noun, source, source_seq, content, recorded_at)
          SELECT DISTINCT $1, source, source_seq, content, $2::timestamptz FROM staged_number WHERE is_told IS NULL
          ON CONFLICT DO NOTHING",
    )
    .bind(noun)
    .bind(recorded_at.utc())
    .execute(conn)
    .await?;
    Ok(())
}

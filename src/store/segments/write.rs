//! Writes one segment file.
//!
//! Every sealed column has a data key of its own, wrapped by the key of its class and day; the footer is readable and
//! signed. Sealed columns have no statistics and no bloom filter, which would show their values. Parquet's own copies
//! of the data keys live as long as the file is written. Bound: [`ROW_GROUP_BYTES`] of encoded rows, one batch.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::sync::Arc;

use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::encryption::encrypt::FileEncryptionProperties;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use super::SegmentError;
use super::manifest::hex;
use super::material::Material;
use super::rows::Batch;
use super::schema::{self, Shape};
use crate::clock::Timestamp;
use crate::record::{Column, Row, Value};
use crate::seal::{Day, Dek, KeyClass, KeyId, KeyProvider};
use crate::store::subjects::IndexBuilder;

/// Most rows of a row group.
const ROW_GROUP_ROWS: usize = 128 << 10;
/// Encoded bytes after which a row group ends although it has fewer rows.
const ROW_GROUP_BYTES: usize = 64 << 20;

/// Where the rows of a segment come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) instance: u32,
    pub(super) day: Day,
    pub(super) schema: u32,
    pub(super) node: Vec<u8>,
}

/// A segment file that is being written.
pub(super) struct SegmentWriter {
    writer: ArrowWriter<Hashed>,
    batch: Batch,
    keys: Vec<KeyId>,
    arrived: Option<&'static Column>,
    span: Span,
    index: IndexBuilder,
}

/// What the rows of a segment reach over.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span {
    pub(super) rows: u64,
    pub(super) first_seq: u64,
    pub(super) last_seq: u64,
    pub(super) first_ts: Timestamp,
    pub(super) last_ts: Timestamp,
    pub(super) earliest: Timestamp,
    /// Rows that belong there and were left out.
    pub(super) skipped: u64,
}

/// A segment file that is whole and synced.
pub(super) struct Written {
    pub(super) span: Span,
    pub(super) bytes: u64,
    pub(super) sha256: String,
    pub(super) keys: Vec<KeyId>,
    /// Which tags its rows have.
    pub(super) index: IndexBuilder,
}

impl SegmentWriter {
    /// Begins a file with these columns. A class whose keys of that day were all destroyed is left out: a new key
    /// would only seal absent values, and outlive its day.
    pub(super) fn new(
        file: File,
        origin: &Origin,
        mut columns: Vec<&'static Column>,
        keys: &dyn KeyProvider,
    ) -> Result<Self, SegmentError> {
        for class in KeyClass::ALL {
            if keys.ended(class, origin.day)? {
                columns.retain(|column| KeyClass::from(column.class) != class);
            }
        }
        let batch = Batch::of(&columns, Shape::Segment);
        let (encryption, used) = encryption(origin.day, &columns, keys)?;
        let properties = properties(origin, &columns, encryption)?;
        let writer = ArrowWriter::try_new(Hashed::new(file), batch.schema(), Some(properties))?;
        let arrived = Column::by_name("start_ts");
        Ok(Self { writer, batch, keys: used, arrived, span: Span::default(), index: IndexBuilder::default() })
    }

    /// Adds a row; rows come in the order of `seq`.
    pub(super) fn push(&mut self, row: &Row<'_>) -> Result<(), SegmentError> {
        self.reach(row);
        self.span.rows += 1;
        self.index.push(row);
        self.batch.push(row)?;
        if self.batch.is_full() { self.hand_on() } else { Ok(()) }
    }

    /// Leaves a row out that was erased; its number is covered all the same, so that it is no hole.
    pub(super) fn skip(&mut self, row: &Row<'_>) {
        self.reach(row);
        self.span.skipped += 1;
    }

    fn reach(&mut self, row: &Row<'_>) {
        let arrived = match self.arrived.and_then(|column| row.get(column)) {
            Some(Value::Time(at)) => at.min(row.ts),
            _ => row.ts,
        };
        if self.span.rows + self.span.skipped == 0 {
            (self.span.first_seq, self.span.first_ts, self.span.earliest) = (row.seq, row.ts, arrived);
        }
        (self.span.last_seq, self.span.last_ts) = (row.seq, row.ts);
        self.span.earliest = self.span.earliest.min(arrived);
    }

    /// Ends the file and syncs it.
    pub(super) fn finish(mut self) -> Result<Written, SegmentError> {
        self.hand_on()?;
        let hashed = self.writer.into_inner()?;
        let (bytes, sha256) = hashed.sync()?;
        Ok(Written { span: self.span, bytes, sha256, keys: self.keys, index: self.index })
    }

    fn hand_on(&mut self) -> Result<(), SegmentError> {
        if let Some(batch) = self.batch.take()? {
            self.writer.write(&batch)?;
        }
        Ok(())
    }
}

/// The keys of a new file, and which keys wrap them. None when no column is sealed: a file with a key for its footer alone
/// would have every column sealed under that one.
fn encryption(
    day: Day,
    columns: &[&'static Column],
    keys: &dyn KeyProvider,
) -> Result<(Option<Arc<FileEncryptionProperties>>, Vec<KeyId>), SegmentError> {
    if !columns.iter().any(|column| schema::sealed(column)) {
        return Ok((None, Vec::new()));
    }
    let wrapped = |class: KeyClass| -> Result<(Dek, KeyId, Material), SegmentError> {
        let (key, dek) = (keys.current(class, day)?, Dek::random()?);
        let material = Material { key: key.to_string(), wrapped: keys.wrap(&key, &dek)? };
        Ok((dek, key, material))
    };
    let (footer, key, material) = wrapped(KeyClass::Ops)?;
    let mut used = vec![key];
    let mut builder = FileEncryptionProperties::builder(footer.bytes().to_vec())
        .with_plaintext_footer(true)
        .with_footer_key_metadata(material.encode(true));
    for column in columns.iter().filter(|c| schema::sealed(c)) {
        let (dek, key, material) = wrapped(column.class.into())?;
        let (leaf, bytes) = (schema::leaf(column), dek.bytes().to_vec());
        builder = builder.with_column_key_and_metadata(&leaf, bytes, material.encode(false));
        if !used.contains(&key) {
            used.push(key);
        }
    }
    Ok((Some(builder.build()?), used))
}

fn properties(
    origin: &Origin,
    columns: &[&'static Column],
    encryption: Option<Arc<FileEncryptionProperties>>,
) -> Result<WriterProperties, SegmentError> {
    let about = [
        ("kelisim.node", String::from_utf8_lossy(&origin.node).into_owned()),
        ("kelisim.schema", origin.schema.to_string()),
        ("kelisim.instance", origin.instance.to_string()),
    ];
    let about = about.into_iter().map(|(key, value)| KeyValue::new(key.to_owned(), value)).collect();
    let mut builder = WriterProperties::builder()
        .set_created_by(concat!("kelisim ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_key_value_metadata(Some(about))
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
        .set_bloom_filter_enabled(false)
        .set_statistics_enabled(EnabledStatistics::Page);
    if let Some(encryption) = encryption {
        builder = builder.with_file_encryption_properties(encryption);
    }
    for column in columns {
        if schema::sealed(column) {
            builder = builder.set_column_statistics_enabled(schema::path(column), EnabledStatistics::None);
        } else if RISING.contains(&column.name) {
            builder = builder
                .set_column_dictionary_enabled(schema::path(column), false)
                .set_column_encoding(schema::path(column), Encoding::DELTA_BINARY_PACKED);
        } else if DISTINCT.contains(&column.name) {
            builder = builder
                .set_column_dictionary_enabled(schema::path(column), false)
                .set_column_encoding(schema::path(column), Encoding::DELTA_BYTE_ARRAY);
        }
    }
    Ok(builder.build())
}

/// Numbers that rise from row to row: their differences are small.
const RISING: [&str; 3] = ["seq", "ts", "start_ts"];
/// Texts that are different in every row but begin alike.
const DISTINCT: [&str; 1] = ["request.id"];

/// A file that is hashed as it is written.
struct Hashed {
    file: BufWriter<File>,
    digest: ring::digest::Context,
    bytes: u64,
}

impl Hashed {
    fn new(file: File) -> Self {
        let digest = ring::digest::Context::new(&ring::digest::SHA256);
        Self { file: BufWriter::with_capacity(WRITE_BYTES, file), digest, bytes: 0 }
    }

    fn sync(self) -> io::Result<(u64, String)> {
        let file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        Ok((self.bytes, hex(self.digest.finish().as_ref())))
    }
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.digest.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Bytes handed to the system at once.
const WRITE_BYTES: usize = 256 << 10;

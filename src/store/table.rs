//! Tables that leave the store: matching rows as Parquet or as an Arrow IPC file.
//!
//! [`Table`] turns rows into bytes that the caller takes away as they come, so a table may be larger than the memory.
//! Its Parquet needs no key, unless it is given one for the whole file. Never decides who may see a column. Bound: one
//! row group of encoded rows, one batch.

use std::io;

use arrow_ipc::writer::FileWriter;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use super::segments::{Batch, SegmentError, Shape};
use crate::record::{Column, Row};

/// Most rows of a row group.
const ROW_GROUP_ROWS: usize = 128 << 10;
/// Encoded bytes after which a row group ends although it has fewer rows.
const ROW_GROUP_BYTES: usize = 64 << 20;

/// A table that is being written.
pub struct Table {
    batch: Batch,
    sink: Sink,
    rows: u64,
}

enum Sink {
    Parquet(Box<ArrowWriter<Vec<u8>>>),
    Ipc(Box<FileWriter<Vec<u8>>>),
}

impl Table {
    /// A Parquet file with these columns, zstd-compressed.
    ///
    /// # Errors
    /// When the columns do not fit.
    pub fn parquet(columns: &[&'static Column], shape: Shape) -> io::Result<Self> {
        let batch = Batch::of(columns, shape);
        let properties = WriterProperties::builder()
            .set_created_by(concat!("kelisim ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).map_err(parquet)?))
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .set_max_row_group_bytes(Some(ROW_GROUP_BYTES));
        let writer =
            ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties.build())).map_err(parquet)?;
        Ok(Self { batch, sink: Sink::Parquet(Box::new(writer)), rows: 0 })
    }

    /// An Arrow IPC file with these columns.
    ///
    /// # Errors
    /// When the columns do not fit.
    pub fn ipc(columns: &[&'static Column], shape: Shape) -> io::Result<Self> {
        let batch = Batch::of(columns, shape);
        let writer = FileWriter::try_new(Vec::new(), &batch.schema()).map_err(arrow)?;
        Ok(Self { batch, sink: Sink::Ipc(Box::new(writer)), rows: 0 })
    }

    /// Adds a row; whether there are bytes to be taken away.
    ///
    /// # Errors
    /// When the row cannot be encoded.
    pub fn push(&mut self, row: &Row<'_>) -> io::Result<bool> {
        self.batch.push(row).map_err(arrow)?;
        self.rows += 1;
        if self.batch.is_full() { self.hand_on().map(|()| true) } else { Ok(false) }
    }

    /// Rows so far.
    #[must_use]
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// The bytes of the file that are ready and have not been taken yet.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(match &mut self.sink {
            Sink::Parquet(writer) => writer.inner_mut(),
            Sink::Ipc(writer) => writer.get_mut(),
        })
    }

    /// The last bytes of the file.
    ///
    /// # Errors
    /// When they cannot be encoded.
    pub fn finish(mut self) -> io::Result<Vec<u8>> {
        self.hand_on()?;
        match self.sink {
            Sink::Parquet(writer) => writer.into_inner().map_err(parquet),
            Sink::Ipc(mut writer) => {
                writer.finish().map_err(arrow)?;
                Ok(std::mem::take(writer.get_mut()))
            }
        }
    }

    fn hand_on(&mut self) -> io::Result<()> {
        let Some(batch) = self.batch.take().map_err(arrow)? else { return Ok(()) };
        match &mut self.sink {
            Sink::Parquet(writer) => writer.write(&batch).map_err(parquet),
            Sink::Ipc(writer) => writer.write(&batch).map_err(arrow),
        }
    }
}

fn parquet(error: ParquetError) -> io::Error {
    SegmentError::from(error).into()
}

fn arrow(error: arrow_schema::ArrowError) -> io::Error {
    SegmentError::from(error).into()
}

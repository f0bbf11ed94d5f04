namespace Blkring.Engine.Disks;

/// <summary>The cache between a guest and its image.</summary>
public enum CacheMode
{
    /// <summary>O_DIRECT where a test read shows that the file supports it; the page cache otherwise.</summary>
    None,

    /// <summary>O_DIRECT, or an error where the file does not support it.</summary>
    Direct,

    /// <summary>The page cache. A flush still reaches stable storage (fdatasync).</summary>
    Writeback,

    /// <summary>The page cache for reads; a write is answered once it is on stable storage (O_DSYNC).</summary>
    Writethrough,
}

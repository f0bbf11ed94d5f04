namespace Blkring.Engine.Disks;

/// <summary>How an open image is kept from other users (flock(2)).</summary>
public enum ImageLock : byte
{
    /// <summary>It is not locked: nobody has asked for it, or another user holds it.</summary>
    NotYet,

    /// <summary>The file system has no locks: nothing keeps others away.</summary>
    None,

    /// <summary>Readers share it.</summary>
    Shared,

    /// <summary>One writer has it alone.</summary>
    Exclusive,
}

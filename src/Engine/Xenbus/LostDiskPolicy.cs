namespace Blkring.Engine.Xenbus;

/// <summary>What a guest gets while its disk is full or gone.</summary>
public enum LostDiskPolicy : byte
{
    /// <summary>Nothing, until the disk is back.</summary>
    Wait,

    /// <summary>BLKIF_RSP_ERROR.</summary>
    Error,
}

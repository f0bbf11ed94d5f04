namespace Blkring.Generators.Model;

/// <summary>
/// Limits far above the needs of a protocol with 4096-byte ring pages, and low enough that no arithmetic overflows.
/// </summary>
internal static class Limits
{
    public const int ArrayCount = 65536;

    /// <summary>Bytes.</summary>
    public const int TypeSize = 65536;

    public const int NestingDepth = 16;

    /// <summary>XEN_PAGE_SIZE, bytes: a ring of one page must hold an entry.</summary>
    public const int PageSize = 4096;
}

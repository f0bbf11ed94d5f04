using System.Runtime.InteropServices;

namespace Blkring.Layouts.Tests;

/// <summary>Page-aligned memory, as a ring has; filled with 0xa5 so that a stray store shows.</summary>
internal sealed unsafe class SharedPages : IDisposable
{
    public const byte Filling = 0xa5;
    private const int PageSize = 4096;

    public SharedPages(int count)
    {
        LengthBytes = count * PageSize;
        Start = (byte*)NativeMemory.AlignedAlloc((nuint)LengthBytes, PageSize);
        Bytes.Fill(Filling);
    }

    public byte* Start { get; }

    public int LengthBytes { get; }

    public Span<byte> Bytes => new(Start, LengthBytes);

    public void Dispose() => NativeMemory.AlignedFree(Start);
}

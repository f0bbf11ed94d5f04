using System.Runtime.InteropServices;
using Blkring.Interop;

namespace Blkring.Loopback;

/// <summary>
/// Memory of zeros that is not there yet: whoever touches it waits in the kernel until <see cref="Release"/>, as for a
/// store that hangs. By userfaultfd(2).
/// </summary>
public sealed unsafe class HangingMemory : IDisposable
{
    private const uint UserfaultfdIocNew = 0xAA00;
    private const uint UffdioApi = 0xC018AA3F;
    private const uint UffdioRegister = 0xC020AA00;
    private const ulong ApiVersion = 0xAA;
    private const ulong RegisterMissing = 1;

    private readonly MappedMemory _memory;
    private readonly FileDescriptor _faults;

    private HangingMemory(MappedMemory memory, FileDescriptor faults) => (_memory, _faults) = (memory, faults);

    [StructLayout(LayoutKind.Sequential)]
    private struct Api
    {
        public ulong Version,
            Features,
            Ioctls;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct Registration
    {
        public ulong Start,
            LengthBytes,
            Mode,
            Ioctls;
    }

    public byte* Address => _memory.Address;
    public int LengthBytes => (int)_memory.LengthBytes;

    /// <summary>Null where this process may not do it.</summary>
    public static HangingMemory? TryCreate(int lengthBytes)
    {
        int device = Libc.Open("/dev/userfaultfd", Libc.O_RDWR | Libc.O_CLOEXEC);
        if (device < 0)
            return null;
        using FileDescriptor opened = new(device);
        int faults = Libc.Ioctl(device, UserfaultfdIocNew, (void*)Libc.O_CLOEXEC);
        if (faults < 0)
            return null;
        HangingMemory memory = new(
            MappedMemory.Anonymous((nuint)lengthBytes, populate: false),
            new FileDescriptor(faults)
        );
        Api api = new() { Version = ApiVersion };
        Registration registration = new()
        {
            Start = (ulong)memory.Address,
            LengthBytes = (ulong)lengthBytes,
            Mode = RegisterMissing,
        };
        if (Libc.Ioctl(faults, UffdioApi, &api) >= 0 && Libc.Ioctl(faults, UffdioRegister, &registration) >= 0)
            return memory;
        memory.Dispose();
        return null;
    }

    /// <summary>Ends all waits: from now on it is ordinary memory.</summary>
    public void Release() => _faults.Dispose();

    public void Dispose()
    {
        Release();
        _memory.Dispose();
    }
}

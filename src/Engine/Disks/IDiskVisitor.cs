namespace Blkring.Engine.Disks;

/// <summary>
/// Receives a disk's data plane with its concrete type, which makes the JIT compile a queue for that type. Whoever
/// builds queues implements it; see <see cref="Disk.Accept{TResult}"/>.
/// </summary>
public interface IDiskVisitor<out TResult>
{
    TResult Visit<TDisk>(TDisk io)
        where TDisk : struct, IDiskIo;
}

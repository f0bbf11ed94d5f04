using System.Text.Json;
using System.Text.Json.Serialization;
using Blkring.Engine.Queues;

namespace Blkring.Commands.Demo;

/// <summary>
/// The first byte of a message between the demo and its frontend's process. Each of the demo's is answered before the
/// next is sent, but <see cref="Detach"/>.
/// </summary>
internal enum GuestMessage : byte
{
    /// <summary>With <see cref="GuestOptions"/>; answered by <see cref="Ready"/>.</summary>
    Setup = 1,

    /// <summary>With <see cref="AttachOrder"/>; answered by the offer of LoopbackHandshake.</summary>
    Attach,

    /// <summary>
    /// With <see cref="RunOrder"/>; answered by <see cref="Result"/>, with <see cref="Progress"/> before it.
    /// </summary>
    Run,
    Sweep,
    Detach,

    Ready = 16,

    /// <summary>With the requests answered so far, 8 bytes, little endian.</summary>
    Progress,

    /// <summary>With <see cref="PhaseResult"/>.</summary>
    Result,

    /// <summary>With one line of UTF-8.</summary>
    Failed,
}

internal sealed record AttachOrder(BlkifProtocol Protocol);

internal sealed record RunOrder(int Depth, double Seconds);

[JsonSerializable(typeof(GuestOptions))]
[JsonSerializable(typeof(AttachOrder))]
[JsonSerializable(typeof(RunOrder))]
[JsonSerializable(typeof(PhaseResult))]
[JsonSourceGenerationOptions(
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
    IgnoreReadOnlyProperties = true
)]
internal sealed partial class GuestJson : JsonSerializerContext
{
    public static byte[] Message<T>(
        GuestMessage kind,
        T body,
        System.Text.Json.Serialization.Metadata.JsonTypeInfo<T> type
    ) => [(byte)kind, .. JsonSerializer.SerializeToUtf8Bytes(body, type)];
}

using System.Text.Json;
using System.Text.Json.Serialization;
using Blkring.Engine.Queues;

namespace Blkring.Commands.Demo.Guests;

/// <summary>
/// The first byte of a message between the demo and the guest's process. The demo waits for the answer to each message
/// before it sends the next, except after <see cref="Detach"/>, which has no answer.
/// </summary>
internal enum GuestMessage : byte
{
    /// <summary>Carries <see cref="GuestOptions"/>; the answer is <see cref="Ready"/>.</summary>
    Setup = 1,

    /// <summary>Carries <see cref="AttachOrder"/>; the answer is an offer of LoopbackHandshake.</summary>
    Attach,

    /// <summary>
    /// Carries <see cref="RunOrder"/>; the answer is <see cref="Result"/>, after any number of <see cref="Progress"/>.
    /// </summary>
    Run,

    /// <summary>The answer is the same as to <see cref="Run"/>.</summary>
    Sweep,
    Detach,

    Ready = 16,

    /// <summary>Carries the number of requests answered so far: 8 bytes, little endian.</summary>
    Progress,

    /// <summary>Carries <see cref="PhaseResult"/>.</summary>
    Result,

    /// <summary>Carries one line of UTF-8.</summary>
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

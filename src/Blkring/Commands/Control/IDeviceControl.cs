using Blkring.Settings;

namespace Blkring.Commands.Control;

/// <summary>The commands of the control socket. Called from several threads at once.</summary>
internal interface IDeviceControl
{
    IReadOnlyList<DeviceReport> List();

    MappedGrantsReport MappedGrants { get; }

    /// <param name="bytes">Null for the length of the image.</param>
    void Resize(DeviceName device, long? bytes);
    void Pause(DeviceName device);
    void Resume(DeviceName device);

    /// <summary>Lets a device go on that waits for a decision.</summary>
    void Continue(DeviceName device, bool failRequest);
    void Eject(DeviceName device);
    void Insert(DeviceName device, string path);

    /// <param name="keep">Also for the next daemon.</param>
    void Limit(DeviceName device, LimitsReport change, bool keep);
}

/// <summary>A request that cannot be carried out; the message is one line for the user.</summary>
internal sealed class ControlException(string message) : Exception(message);

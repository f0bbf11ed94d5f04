using Blkring.Settings;

namespace Blkring.Commands.Control;

/// <summary>What the control socket may ask of the daemon. Called from several threads at once.</summary>
internal interface IDeviceControl
{
    IReadOnlyList<DeviceReport> List();

    /// <param name="bytes">Null: as long as the image now is.</param>
    void Resize(DeviceName device, long? bytes);
    void Pause(DeviceName device);
    void Resume(DeviceName device);
    void Eject(DeviceName device);
    void Insert(DeviceName device, string path);
    void Limit(DeviceName device, LimitsReport change);
}

/// <summary>A request that cannot be carried out; the message is one line for the person who asked.</summary>
internal sealed class ControlException(string message) : Exception(message);
